package scheduler

import (
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
	silent, unstarted := b.sort(o, young, 0)
	require.Equal(t, []uint32{2}, indexes(silent), "it was asked to stop, whether it runs or not")
	require.Equal(t, []uint32{1}, indexes(unstarted), "it waits for the slot")
	require.True(t, unstarted.Unstarted)

	// A worker that says for ever that it has just begun is not believed.
	b.before, b.seen = b.seen, map[heldTask]int64{}
	silent, _ = b.sort(o, young, int64(time.Second+task.ReportMargin))
	require.Equal(t, []uint32{0, 2}, indexes(silent))

	silent, unstarted = b.sort(o, nil, 0)
	require.Equal(t, []uint32{0, 1, 2}, indexes(silent), "it has a free slot and does not run them")
	require.Empty(t, unstarted.Held)
	require.Len(t, silent.Held, 1, "tasks of one job and one grant are one list of ranges")
}

func TestASessionThatIsShunnedIsRenewedByNothing(t *testing.T) {
	t.Parallel()
	f := NewFleet(10 * time.Second)
	f.Begin(nil)
	s := &quiet{}
	require.True(t, f.Attach(1, s))
	require.True(t, f.Beat(1, s, nil))
	require.True(t, f.Shun(1))
	require.False(t, f.Shun(1))
	require.False(t, f.Beat(1, s, nil))
	require.False(t, f.Attach(1, &quiet{}))
	require.EqualValues(t, fsm.Away, extra(f, []fsm.SessionView{{ID: 1, Slots: 4}}))
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
		f.rouse()
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
		o := fsm.Overdue{Session: 1, Tasks: []fsm.OverdueTask{{Job: 1, Timeout: time.Second}, {Job: 2, Timeout: time.Hour, Exclusive: true}}, Exclusive: true}
		late := o
		require.False(t, f.outOfPatience(&late, due+int64(overduePatience)), "a leader that is new waits")
		time.Sleep(overduePatience)
		require.False(t, f.outOfPatience(&late, due))
		require.True(t, f.outOfPatience(&late, due+int64(overduePatience)))
		require.Len(t, late.Tasks, 1)
		require.False(t, late.Exclusive)
	})
}
