package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// The leader asks what is due, and until when it may sleep.
func TestWhatIsDueIsNamedInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	now := b.clock
	_, next := b.m.Due(now, 10)
	require.Zero(t, next, "nothing is awaited")
	at := func(d time.Duration) int64 { return now + int64(d) }
	late := b.submit(&task.Spec{Handler: "h", Expire: 3 * time.Second}, 1)
	early := b.submit(&task.Spec{Handler: "h", Expire: time.Second}, 1)
	same := b.submit(&task.Spec{Handler: "h", Expire: time.Second}, 1)
	growing := b.open(packed(1))
	both := b.must(submitOp(t, &task.Spec{Handler: "h", Expire: 2 * time.Second}, &logpb.Submit{Open: true})).Job
	b.submit(&task.Spec{Handler: "h", Delay: time.Hour}, 1)
	for name, c := range map[string]struct {
		now   int64
		limit int
		due   []uint64
		next  int64
	}{
		"too early":            {at(time.Second) - 1, 10, nil, at(time.Second)},
		"those that expire":    {at(time.Second), 10, []uint64{early, same}, at(2 * time.Second)},
		"up to the limit":      {at(time.Second), 1, []uint64{early}, at(time.Second)},
		"open, and expires":    {at(2 * time.Second), 10, []uint64{early, same, both}, at(3 * time.Second)},
		"before it is open":    {at(task.OpenTimeout) - 1, 10, []uint64{early, same, both, late}, at(task.OpenTimeout)},
		"open for too long":    {at(task.OpenTimeout), 10, []uint64{early, same, both, late, growing}, at(time.Hour)},
		"a start is not named": {at(2 * time.Hour), 10, []uint64{early, same, both, late, growing}, at(time.Hour)},
	} {
		due, next := b.m.Due(c.now, c.limit)
		require.Equal(t, c.due, due, name)
		require.Equal(t, c.next, next, name)
	}
	b.viewAll(at(2 * time.Hour))
	_, next = b.m.Due(at(2*time.Hour), 10)
	require.Zero(t, next, "the start has been looked at")
}

// An append puts off the end of an open job.
func TestAnAppendPutsOffTheEndOfAJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.open(packed(1))
	b.clock += int64(time.Minute)
	b.must(appendOp(job, 1, packed(1)))
	_, next := b.m.Due(b.clock, 1)
	require.Equal(t, b.clock+int64(task.OpenTimeout), next)
	b.must(closeOp(job, 2))
	_, next = b.m.Due(b.clock, 1)
	require.Zero(t, next)
	require.Empty(t, b.m.CheckInvariants())
}

// The leader sleeps until the timer that was the next when it asked.
func TestATimerBeforeAllOthersWakesTheLeader(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	seen := &grants{}
	b.m.SetObserver(seen)
	for _, c := range []struct {
		delay time.Duration
		wakes int
	}{{time.Hour, 1}, {2 * time.Hour, 0}, {time.Minute, 1}} {
		seen.wakes = 0
		b.submit(&task.Spec{Handler: "h", Delay: c.delay}, 1)
		require.Equal(t, c.wakes, seen.wakes, c.delay)
	}
}

// A job or a task that waits for its time is shown from that time on.
func TestWhatIsDueMovesInLine(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	delayed := b.submit(&task.Spec{Handler: "h", Delay: time.Second}, 3)
	start := b.clock + int64(time.Second)
	require.Empty(t, b.viewAt(start-1, roomy).Queues)
	shown := func(v *fsm.View) (jobs []uint64, ranges []task.Range) {
		for _, j := range v.Queues[0].Jobs {
			jobs, ranges = append(jobs, j.ID), append(ranges, j.Ranges...)
		}
		return jobs, ranges
	}
	jobs, ranges := shown(b.viewAt(start, roomy))
	require.Equal(t, []uint64{delayed}, jobs)
	require.Equal(t, []task.Range{{Count: 3}}, ranges)

	b.clock = start
	b.plan(delayed, 0, 3, s)
	b.report(delayed, 1, 1, 0, task.OutcomeFailed)
	failed, _ := b.m.Task(delayed, 1)
	require.Greater(t, failed.NotBefore, b.clock)
	require.Empty(t, b.viewAt(failed.NotBefore-1, roomy).Queues)
	_, ranges = shown(b.viewAt(failed.NotBefore, roomy))
	require.Equal(t, []task.Range{{First: 1, Count: 1}}, ranges)
	require.Empty(t, b.m.CheckInvariants())
}

// A job with more tasks than one entry ends is due until all have ended.
func TestASweepThatGoesOnIsDueAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", Expire: time.Hour}, 3*fsm.PageTasks)
	cancel := cancelJobOp(job)
	cancel.GetCancel().Step = 1
	b.must(cancel)
	for range 2 {
		due, _ := b.m.Due(b.clock, 10)
		require.Equal(t, []uint64{job}, due)
		require.Zero(t, record(b, job).FinishedNs)
		op := expireOp(job)
		op.GetExpire().Step = 1
		b.must(op)
	}
	due, next := b.m.Due(b.clock, 10)
	require.Empty(t, due)
	require.Zero(t, next, "it has ended, and does not expire")
	require.Equal(t, b.clock, record(b, job).FinishedNs)
}

// TestACancelledJobLeavesNoTimer: its start may have lain years ahead.
func TestACancelledJobLeavesNoTimer(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", Delay: task.MaxDelay, Expire: time.Hour}, 2)
	_, next := b.m.Due(b.clock, 1)
	require.NotZero(t, next)
	b.must(cancelJobOp(job))
	_, next = b.m.Due(b.clock, 1)
	require.Zero(t, next)
}

// However many tasks are due at once, Advance handles a bounded number of them and reports that there are more.
func TestAdvanceLooksAtSoManyTimersAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const tasks, most = 10_000, 4096
	w := b.openSession("w", task.MaxSlots)
	job := b.submit(&task.Spec{Handler: "h"}, tasks)
	b.plan(job, 0, tasks, w)
	b.must(failedOp(w, job, 0, tasks))
	b.clock += int64(task.BackoffMax)
	views := 1
	for ; ; views++ {
		v, behind := b.m.AdvanceAndView(b.clock, 0, roomy)
		require.LessOrEqual(t, v.Queues[0].Jobs[0].Budget, uint32(views*most))
		if !behind {
			break
		}
	}
	require.Equal(t, (tasks+most-1)/most, views)
}
