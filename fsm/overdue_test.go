package fsm_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func overdueOp(session, job uint64, offset int64, ranges ...*logpb.Range) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_Overdue{Overdue: &logpb.Overdue{
		Session: session, Held: []*logpb.Held{{Job: job, TokenOffset: offset, Ranges: ranges}},
	}}}
}

// A task is overdue a margin after its timeout, or after it was asked to stop.
func TestWhatIsHeldForTooLongIsOverdue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const timeout = time.Minute
	s := b.openSession("w", 10)
	timed := b.submit(&task.Spec{Handler: "h", Timeout: timeout}, 4)
	endless := b.submit(&task.Spec{Handler: "h"}, 2)
	serial := b.submit(&task.Spec{Handler: "h", Timeout: timeout, Serial: true}, 1)
	granted := b.clock
	b.plan(timed, 0, 3, s)
	b.plan(endless, 0, 2, s)
	b.plan(serial, 0, 1, s)
	b.report(timed, 1, 1, 0, task.OutcomeSucceeded)
	b.clock += int64(time.Second)
	asked := b.clock
	b.must(cancelOp(endless, 1))

	stopping := fsm.OverdueTask{Job: endless, Index: 1, TokenOffset: 4, At: asked, Stopping: true}
	running := fsm.OverdueTask{Job: timed, TokenOffset: 1, At: granted, Timeout: timeout}
	another := running
	another.Index = 2
	exclusive := fsm.OverdueTask{Job: serial, TokenOffset: 6, Exclusive: true, At: granted, Timeout: timeout}
	for _, c := range []struct {
		now  int64
		want []fsm.OverdueTask
	}{
		{asked + int64(task.ReportMargin) - 1, nil},
		{asked + int64(task.ReportMargin), []fsm.OverdueTask{stopping}},
		{granted + int64(timeout+task.ReportMargin) - 1, []fsm.OverdueTask{stopping}},
		{granted + int64(timeout+task.ReportMargin), []fsm.OverdueTask{running, another, stopping, exclusive}},
	} {
		found, next := b.m.Overdue(c.now, 0, 100)
		require.Zero(t, next)
		if c.want == nil {
			require.Empty(t, found)
			continue
		}
		require.Equal(t, []fsm.Overdue{{Session: s, Slots: 10, Tasks: c.want}}, found)
	}
}

// One search visits a bounded number of pages, and the next one continues after its last session.
func TestTheLookForOverdueTasksGoesOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	found, next := b.m.Overdue(math.MaxInt64, 0, 1)
	require.Empty(t, found)
	require.Zero(t, next)

	job := b.submit(&task.Spec{Handler: "h", Timeout: time.Second}, 5)
	for i := range uint32(5) {
		b.plan(job, i, 1, b.openSession(fmt.Sprint("w", i), 1))
	}
	late := b.clock + int64(time.Hour)
	for _, looked := range [][]uint64{{1, 2}, {3, 4}, {5}} {
		found, next = b.m.Overdue(late, next, 3) // one for each session, and one for its page
		var sessions []uint64
		for _, o := range found {
			sessions = append(sessions, o.Session)
		}
		require.Equal(t, looked, sessions)
	}
	require.Zero(t, next, "the next search begins with the first session")
	_, next = b.m.Overdue(late, 5, 3)
	require.Zero(t, next, "the session after which it continues may be gone")
}

// The leader names the tasks. Whether they are late, and what becomes of them, is decided where the entry is applied.
func TestSilenceEndsAnAttempt(t *testing.T) {
	t.Parallel()
	const timeout = time.Minute
	silent := fsm.SilentNote("w", false, timeout, task.ReportMargin)
	for name, c := range map[string]struct {
		spec    task.Spec
		cancel  bool
		early   time.Duration
		change  func(o *logpb.Overdue)
		taken   uint32
		state   task.State
		reason  task.Reason
		attempt uint32
		note    string
	}{
		"an attempt of several": {
			spec: task.Spec{Timeout: timeout, MaxAttempts: 2}, taken: 1, state: task.Scheduled, reason: task.ReasonTimeout, attempt: 1, note: silent,
		},
		"the last attempt": {
			spec: task.Spec{Timeout: timeout, MaxAttempts: 1}, taken: 1, state: task.Failed, reason: task.ReasonTimeout, attempt: 1, note: silent,
		},
		"asked to stop": {
			spec: task.Spec{Timeout: timeout}, cancel: true, taken: 1, state: task.Cancelled, reason: task.ReasonUser, attempt: 1,
			note: fsm.SilentNote("w", true, timeout, task.ReportMargin),
		},
		"not started": {
			spec: task.Spec{Timeout: timeout, MaxAttempts: 1}, change: func(o *logpb.Overdue) { o.Unstarted = true }, taken: 1, state: task.Pending,
		},
		"too early":         {spec: task.Spec{Timeout: timeout}, early: 1, state: task.Assigned, attempt: 1},
		"without a timeout": {state: task.Assigned, attempt: 1},
		"exclusive":         {spec: task.Spec{Timeout: timeout, Serial: true}, state: task.Assigned, attempt: 1},
		"another token": {
			spec: task.Spec{Timeout: timeout}, change: func(o *logpb.Overdue) { o.Held[0].TokenOffset++ }, state: task.Assigned, attempt: 1,
		},
		"another session": {
			spec: task.Spec{Timeout: timeout}, change: func(o *logpb.Overdue) { o.Session++ }, state: task.Assigned, attempt: 1,
		},
		"another job": {
			spec: task.Spec{Timeout: timeout}, change: func(o *logpb.Overdue) { o.Held[0].Job++ }, state: task.Assigned, attempt: 1,
		},
		"no such task": {
			spec: task.Spec{Timeout: timeout}, change: func(o *logpb.Overdue) { o.Held[0].Ranges[0].First++ }, state: task.Assigned, attempt: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			s := b.openSession("w", 1)
			b.openSession("other", 1)
			c.spec.Handler = "h"
			job := b.submit(&c.spec, 1)
			b.plan(job, 0, 1, s)
			if c.cancel {
				b.must(cancelOp(job, 0))
			}
			told := &stops{}
			b.m.SetObserver(told)
			b.clock += int64(timeout + task.ReportMargin - c.early)
			op := overdueOp(s, job, 1, &logpb.Range{Count: 1})
			if c.change != nil {
				c.change(op.GetOverdue())
			}
			require.Equal(t, c.taken, b.must(op).Total)
			require.Empty(t, b.m.CheckInvariants())
			got, known := b.m.Task(job, 0)
			require.True(t, known)
			require.Equal(t, c.state, got.State)
			require.Equal(t, c.reason, got.Reason)
			require.Equal(t, c.attempt, got.Attempt)
			require.Equal(t, c.taken == 0, got.Session == s)
			require.Equal(t, c.taken == 1 && !c.cancel, told.n == 1, "the worker is told to stop it, once")
			require.Equal(t, c.note, noteOf(b, job))
		})
	}
}

// noteOf is the error of the first result of a job, or of its first attempt.
func noteOf(b *testBundle, job uint64) string {
	if segments, _ := b.m.Segments(job, 0, 1000); len(segments) > 0 {
		return segments[0].Segment.Error
	}
	if attempts := b.m.Attempts(job, 0); len(attempts) > 0 {
		return attempts[0].Error
	}
	return ""
}

func TestAnEndOfOverdueTasksThatIsNotWellFormedIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h", Timeout: time.Second}, 1)
	b.plan(job, 0, 1, s)
	b.clock += int64(time.Hour)
	one := &logpb.Range{Count: 1}
	for name, c := range map[string]struct {
		op   *logpb.Op
		want error
		says string
	}{
		"no such session":  {overdueOp(99, job, 1, one), task.ErrNotFound, "no session 99"},
		"tasks beyond all": {overdueOp(s, job, 1, one, &logpb.Range{First: task.MaxTasks, Count: 1}), task.ErrInvalid, "names tasks beyond"},
		"an overflow":      {overdueOp(s, job, 1, one, &logpb.Range{First: math.MaxUint32, Count: 1}), task.ErrInvalid, "names tasks beyond"},
		"too many in all":  {overdueOp(s, job, 1, one, &logpb.Range{Count: fsm.MaxReported}), task.ErrInvalid, "more than"},
	} {
		t.Log(name)
		b.refused(c.op, c.want, c.says)
	}
	require.EqualValues(t, 1, b.must(overdueOp(s, job, 1, one)).Total)
}
