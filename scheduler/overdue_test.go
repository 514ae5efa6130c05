package scheduler

import (
	"testing"
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
