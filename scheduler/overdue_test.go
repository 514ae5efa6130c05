package scheduler

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// indexes lists the tasks that an op names.
func indexes(o *logpb.Overdue) (out []uint32) {
	for _, h := range o.Held {
		for _, r := range h.Ranges {
			for i := r.First; i < r.First+r.Count; i++ {
				out = append(out, i)
			}
		}
	}
	return out
}

func TestWhatWaitsAtItsWorkerOrHasJustBegunIsNotTakenForSilent(t *testing.T) {
	t.Parallel()
	o := fsm.Overdue{Session: 1, Slots: 1}
	for i := range uint32(3) {
		o.Tasks = append(o.Tasks, fsm.OverdueTask{Job: 7, Index: i, TokenOffset: 5, Timeout: time.Second, Stopping: i == 2})
	}
	young := []Running{{Job: 7, Index: 0, For: 500 * time.Millisecond}}
	b := Backstop{seen: map[heldTask]int64{}}
	silent, unstarted, exclusive := b.sort(o, Status{Running: young, Started: 1}, 0)
	require.False(t, exclusive)
	require.Equal(t, []uint32{2}, indexes(silent), "it was asked to stop, whether it runs or not")
	require.Equal(t, []uint32{1}, indexes(unstarted), "it waits for the slot")
	require.True(t, unstarted.Unstarted)

	// A worker that says for ever that it has just begun is not believed.
	b.before, b.seen = b.seen, map[heldTask]int64{}
	silent, _, _ = b.sort(o, Status{Running: young, Started: 1}, int64(time.Second+task.ReportMargin))
	require.Equal(t, []uint32{0, 2}, indexes(silent))

	silent, unstarted, _ = b.sort(o, Status{}, 0)
	require.Equal(t, []uint32{0, 1, 2}, indexes(silent), "it has a free slot and does not run them")
	require.Empty(t, unstarted.Held)
	require.Len(t, silent.Held, 1, "tasks of one job and one grant are one list of ranges")
}

func TestASessionThatIsShunnedIsRenewedByNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		s := &quiet{}
		require.True(t, f.Attach(1, s))
		require.True(t, f.Beat(1, s, nil))
		require.True(t, f.Shun(1))
		require.False(t, f.Shun(1))
		time.Sleep(6 * time.Second)
		require.False(t, f.Beat(1, s, nil))
		require.False(t, s.ended, "it may report still")
		s = &quiet{}
		require.True(t, f.Attach(1, s))
		require.False(t, f.Beat(1, s, nil))
		require.EqualValues(t, fsm.Away, extra(f, []fsm.SessionView{{ID: 1, Slots: 4}}))
		require.Empty(t, f.Expired())
		time.Sleep(5 * time.Second)
		require.Equal(t, []uint64{1}, f.Expired())
		require.True(t, f.Close(1))
		require.True(t, f.Shunned(1))
		require.False(t, f.Shunned(2))
		require.False(t, f.Attach(1, &quiet{}))
	})
}

func TestWhoeverReportsOrWasAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		s := &quiet{}
		require.True(t, f.Attach(1, s))
		beat := func(d time.Duration) {
			for ; d > 0; d -= time.Second {
				time.Sleep(time.Second)
				require.True(t, f.Beat(1, s, nil))
			}
		}
		require.False(t, f.attends(1), "it has just come")
		beat(task.ReportMargin)
		require.True(t, f.attends(1))
		f.Reporting(1, s)
		beat(time.Minute)
		require.False(t, f.attends(1), "its report is not answered")
		f.Reported(1, s)
		require.False(t, f.attends(1), "it may send the next one")
		beat(2 * quietTime)
		require.True(t, f.attends(1))
		time.Sleep(6 * time.Second)
		require.True(t, f.Beat(1, s, nil))
		require.False(t, f.attends(1), "it has missed beats")
		beat(task.ReportMargin)
		require.True(t, f.attends(1))

		views := []fsm.SessionView{{ID: 1, Slots: 4}}
		f.rest(1)
		require.EqualValues(t, fsm.Away, extra(f, views))
		beat(overduePause)
		f.Woken()
		f.Rouse()
		require.True(t, f.Woken())
		require.EqualValues(t, 0, extra(f, views))
	})
}

func TestWhatIsOverdueIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		due := int64(time.Second + task.ReportMargin)
		o := fsm.Overdue{Session: 1, Tasks: []fsm.OverdueTask{{Job: 1, Timeout: time.Second}, {Job: 2, Timeout: time.Hour, Exclusive: true}}}
		late := o
		require.False(t, f.outOfPatience(&late, due+int64(overduePatience)), "a leader that is new waits")
		time.Sleep(overduePatience)
		require.False(t, f.outOfPatience(&late, due))
		require.True(t, f.outOfPatience(&late, due+int64(overduePatience)))
		require.Len(t, late.Tasks, 1)
		require.False(t, late.Tasks[0].Exclusive)
	})
}

// An exclusive task may begin late like any other, and its session has other tasks too.
func TestAnExclusiveTaskThatBeganLateCostsNoLease(t *testing.T) {
	t.Parallel()
	o := fsm.Overdue{Session: 1, Slots: 2, Tasks: []fsm.OverdueTask{
		{Job: 7, Timeout: time.Minute, Exclusive: true}, {Job: 8, Timeout: time.Second},
	}}
	late := []Running{{Job: 7, For: 50 * time.Second}}
	b := Backstop{seen: map[heldTask]int64{}}
	silent, _, exclusive := b.sort(o, Status{Running: late, Started: 1}, 0)
	require.False(t, exclusive, "it runs, for less than it may")
	require.Len(t, silent.Held, 1)
	require.EqualValues(t, 8, silent.Held[0].Job, "an exclusive task is named by no op")
	b.before, b.seen = b.seen, map[heldTask]int64{}
	_, _, exclusive = b.sort(o, Status{Running: late, Started: 1}, int64(time.Minute+task.ReportMargin))
	require.True(t, exclusive, "nobody is believed for ever")
	_, _, exclusive = b.sort(o, Status{}, 0)
	require.True(t, exclusive, "it does not run")
	o.Tasks[0].Stopping = true
	_, _, exclusive = b.sort(o, Status{Running: late, Started: 1}, 0)
	require.True(t, exclusive, "it was asked to stop")
}

// What workers say that they run is kept in memory, whatever they say.
func TestWhatAllWorkersSayTheyRunIsBounded(t *testing.T) {
	t.Parallel()
	f := NewFleet(10 * time.Second)
	f.Begin(nil)
	const workers = maxRunning/task.MaxSlots + 100
	all := func() (n int) {
		f.members.Scan(func(_ uint64, m *Member) bool { n += len(m.running); return true })
		return n
	}
	for range 2 { // the first ones had more of it than their share
		for id := range uint64(workers) {
			s := &quiet{}
			require.True(t, f.Attach(id+1, s))
			require.True(t, f.Beat(id+1, s, slices.Repeat([]Running{{Job: id}}, task.MaxSlots)))
		}
	}
	require.LessOrEqual(t, all(), maxRunning)
	status, _ := f.Status(1)
	require.Equal(t, task.MaxSlots, status.Started, "how many it has said is known")
	for id := range uint64(workers) {
		f.SessionClosed(id + 1)
	}
	require.Empty(t, f.running)
}

// A worker that reports after all, before its lease is over, goes on with all else that it holds.
func TestAWorkerThatReportsWhatItWasShunnedForIsShunnedNoMore(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		session, s := l.open(t, "w", 1, "h"), &quiet{}
		require.True(t, l.fleet.Attach(session, s))
		l.submit(t, &task.Spec{Handler: "h", Serial: true, Timeout: time.Second}, 1)
		for range 2 * task.ReportMargin / time.Second {
			if !l.fleet.Beat(session, s, nil) {
				break
			}
			time.Sleep(time.Second)
		}
		require.True(t, l.fleet.Shunned(session))

		s = &quiet{}
		require.True(t, l.fleet.Attach(session, s), "it has something to report")
		require.False(t, l.fleet.Beat(session, s, nil))
		report := &logpb.Report{Session: session}
		l.machine.Held(session, func(h fsm.HeldTask) {
			report.Groups = append(report.Groups, &logpb.ReportGroup{
				Job: h.Job, TokenOffset: h.TokenOffset, Ranges: []*logpb.Range{{First: h.First, Count: h.Count}}, Outcome: uint32(task.OutcomeStopped),
			})
		})
		r, err := l.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_Report{Report: report}})
		require.NoError(t, err)
		require.Empty(t, r.Exceptions)
		time.Sleep(2 * overdueLook)
		require.False(t, l.fleet.Shunned(session))
		require.True(t, l.fleet.Beat(session, s, nil))
		require.False(t, s.ended)
		time.Sleep(time.Second)
		require.Equal(t, uint32(1), l.machine.Sessions()[0].Assigned, "it is granted tasks again")
	})
}
