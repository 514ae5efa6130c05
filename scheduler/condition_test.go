package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// extra is what the first of some sessions may hold beyond its slots.
func extra(f *Fleet, views []fsm.SessionView) int32 {
	f.Extra(views)
	return views[0].Extra
}

func TestWorkersThatTakeNothingGetNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []Condition{{Draining: true}, {Unhealthy: "no space left"}} {
		views := []fsm.SessionView{{ID: 1, Slots: 4}}
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		s := &quiet{}
		require.True(t, f.Attach(1, s))
		require.EqualValues(t, 0, extra(f, views))
		f.Heard(1, s, c)
		require.EqualValues(t, fsm.Away, extra(f, views))
		status, ok := f.Status(1)
		require.True(t, ok)
		require.Equal(t, c, status.Condition)
		require.True(t, status.Connected)
		require.True(t, f.Beat(1, s, nil), "it keeps what it holds")
		f.Woken()
		f.Heard(1, &quiet{}, Condition{})
		require.EqualValues(t, fsm.Away, extra(f, views), "an old stream says nothing")
		f.Heard(1, s, Condition{})
		require.EqualValues(t, 0, extra(f, views))
		require.True(t, f.Woken(), "what waits can be granted")
	}
}

func TestWhoeverGivesBackWaitsEverLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		views := []fsm.SessionView{{ID: 1, Slots: 4}}
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		require.True(t, f.Attach(1, &quiet{}))
		waits := func() (d time.Duration) {
			f.GaveBack(1)
			f.GaveBack(1)
			f.Woken()
			for ; extra(f, views) == fsm.Away; d += 10 * time.Millisecond {
				require.False(t, f.Woken())
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			require.True(t, f.Woken(), "the allocation loop hears of it")
			return d
		}
		require.Equal(t, 100*time.Millisecond, waits())
		require.Equal(t, 200*time.Millisecond, waits())
		require.Equal(t, 400*time.Millisecond, waits())
		for range 5 {
			waits()
		}
		require.Equal(t, 5*time.Second, waits())
		time.Sleep(6 * time.Second)
		require.Equal(t, 100*time.Millisecond, waits(), "it has not for long")
	})
}

// A worker gives back what its queue will not reach while it runs other tasks: that is no
// reason to leave it idle.
func TestAWorkerThatGetsOnWaitsAMomentOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		views := []fsm.SessionView{{ID: 1, Slots: 4}}
		f := NewFleet(10 * time.Second)
		f.Begin(nil)
		require.True(t, f.Attach(1, &quiet{}))
		for range 10 {
			f.GaveBack(1)
			require.EqualValues(t, fsm.Away, extra(f, views))
			time.Sleep(givebackPause)
			synctest.Wait()
			require.NotEqual(t, int32(fsm.Away), extra(f, views))
			f.Ran(1, Run{Job: 1, Count: 1, Total: time.Second})
		}
	})
}

// A worker that gives everything back costs a few entries, not as many as can be written, and
// others get what it does not take.
func TestATaskThatIsGivenBackDoesNotComeBackAtOnce(t *testing.T) {
	onLeader(t, func(t *testing.T, l *leader) {
		id := l.open(t, "w", 8, "h")
		q := &returning{l: l, session: id}
		require.True(t, l.fleet.Attach(id, q))
		job := l.submit(t, &task.Spec{Handler: "h"}, 1)
		time.Sleep(2 * time.Second)
		require.LessOrEqual(t, l.count(plans), 6)
		info, _ := l.machine.Task(job, 0)
		require.LessOrEqual(t, info.Attempt, uint32(1))
		other := l.open(t, "v", 8, "h")
		require.True(t, l.fleet.Attach(other, &quiet{}))
		time.Sleep(time.Second)
		info, _ = l.machine.Task(job, 0)
		require.Equal(t, other, info.Session)
		require.EqualValues(t, 1, info.Attempt)
	})
}

// returning is a stream whose worker gives back what it is granted.
type returning struct {
	quiet
	l       *leader
	session uint64
}

func (r *returning) Grant(g fsm.Grant) {
	go func() {
		r.l.fleet.GaveBack(r.session)
		_, _ = r.l.Propose(context.Background(), &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: r.session, Groups: []*logpb.ReportGroup{{
			Job: g.Job, TokenOffset: g.TokenOffset, Ranges: []*logpb.Range{{First: g.First, Count: g.Count}}, Outcome: uint32(task.OutcomeReturned),
		}}}}})
	}()
}
