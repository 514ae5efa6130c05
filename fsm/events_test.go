package fsm_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// followed is a bundle whose events can be read.
type followed struct {
	*testBundle
	watchers *fsm.Watchers
}

func newFollowed(t testing.TB) *followed {
	w := fsm.NewWatchers()
	b := newBundle(t)
	b.m = fsm.New(nothing{}, w)
	return &followed{b, w}
}

// all returns all events that are kept.
func (f *followed) all() []fsm.Event {
	events, _, _ := f.watchers.Events().Read(fsm.EventPlace{}, math.MaxInt)
	return events
}

// newest returns the events of the last entry.
func (f *followed) newest() (out []fsm.Event) {
	for _, e := range f.all() {
		if e.At.Index == f.index {
			out = append(out, e)
		}
	}
	return out
}

func (f *followed) submits(n int, s *task.Spec) []*logpb.Op {
	ops := make([]*logpb.Op, n)
	for i := range ops {
		ops[i] = submitOp(f.t, s, &logpb.Submit{Tasks: &logpb.Tasks{Count: 2}})
	}
	return ops
}

func TestEventsTellWhatAnEntryHasDone(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	session := f.openSession("w", 2)
	require.Equal(t, []fsm.Event{{
		Kind: task.EventSessionOpened, At: fsm.EventPlace{Index: f.index, Number: 1}, TimeNs: f.clock, Session: session, Worker: "w",
	}}, f.newest())
	job := f.submit(&task.Spec{Handler: "h", Name: "nightly", Queue: "reports"}, 1)
	submitted := fsm.Event{
		Kind: task.EventSubmitted, At: fsm.EventPlace{Index: f.index, Number: 1}, TimeNs: f.clock, Job: job, Jobs: 1, Tasks: 1, Name: "nightly", Queue: "reports",
	}
	require.Equal(t, []fsm.Event{submitted}, f.newest())
	f.clock += int64(time.Second)
	f.plan(job, 0, 1, session)
	require.Empty(t, f.newest(), "grants are too many to be told")
	f.must(cancelJobOp(job))
	cancelling := submitted
	cancelling.Kind, cancelling.At.Index, cancelling.TimeNs, cancelling.Reason = task.EventCancelling, f.index, f.clock, task.ReasonUser
	require.Equal(t, []fsm.Event{cancelling}, f.newest())
	f.must(cancelJobOp(job))
	require.Empty(t, f.newest(), "to cancel again changes nothing")
	f.closeSession(session)
	require.Equal(t, []task.EventKind{task.EventSessionClosed, task.EventEnded}, kinds(f.newest()))
	closed, ended := f.newest()[0], f.newest()[1]
	require.False(t, closed.Stopped, "it was lost")
	require.EqualValues(t, 1, closed.Tasks, "it held one task")
	require.Equal(t, task.JobCancelled, ended.State)
	require.Equal(t, task.ReasonUser, ended.Reason)
	require.Equal(t, job, ended.Job)
}

func kinds(events []fsm.Event) (out []task.EventKind) {
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

// A thousand submits in an entry are one event: a busy cluster must not push everything else out of the ring.
func TestNeighboursAreOneEvent(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.apply(f.submits(1000, &task.Spec{Handler: "h", Name: "same"})...)
	require.Len(t, f.newest(), 1)
	e := f.newest()[0]
	require.EqualValues(t, 1000, e.Jobs)
	require.EqualValues(t, 2000, e.Tasks)
	require.EqualValues(t, 1, e.Job)
	require.Equal(t, "same", e.Name)
	f.apply(append(f.submits(1, &task.Spec{Handler: "h", Name: "a"}), f.submits(1, &task.Spec{Handler: "h", Name: "b"})...)...)
	require.Len(t, f.newest(), 1)
	require.Empty(t, f.newest()[0].Name, "they have different names")
	f.apply(append(f.submits(1, &task.Spec{Handler: "h"}), f.submits(1, &task.Spec{Handler: "h", Queue: "other"})...)...)
	require.Len(t, f.newest(), 2, "two queues")
}

func TestAnEntryHasFewEvents(t *testing.T) {
	t.Parallel()
	const jobs = 300
	f := newFollowed(t)
	var ops []*logpb.Op
	for i := range jobs {
		queue := "even"
		if i%2 == 1 {
			queue = "odd"
		}
		ops = append(ops, f.submits(1, &task.Spec{Handler: "h", Queue: queue})...)
	}
	f.apply(ops...)
	got := f.newest()
	require.Len(t, got, 64)
	more := got[len(got)-1]
	require.Equal(t, task.EventMore, more.Kind)
	require.EqualValues(t, jobs, uint32(len(got)-1)+more.Count, "none is forgotten")
}

// Events follow from entries alone: also on a server that flushes at other times, and that derives anew.
func TestEventsAreTheSameOnEveryServer(t *testing.T) {
	t.Parallel()
	leader, other := newFollowed(t), newFollowed(t)
	l := newLife(t, 7)
	l.m = leader.m
	leader.testBundle = l.testBundle
	for step := range 300 {
		ops := l.ops()
		l.applyOps(ops)
		other.clock = l.clock
		other.apply(ops...)
		if step%7 == 0 { // at the same time, as there is no disk to ask
			l.flush()
			other.flush()
		}
		l.m.Advance(l.clock, 0)
	}
	require.Greater(t, len(leader.all()), 50)
	require.Equal(t, leader.all(), other.all())
	require.Equal(t, leader.watchers.Tally().Read(), other.watchers.Tally().Read())
}

func TestAReaderHearsOfWhatIsNotKeptAnyMore(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	const entries = 20_000
	for range entries {
		f.apply(f.submits(1, &task.Spec{Handler: "h"})...)
	}
	ring := f.watchers.Events()
	all := f.all()
	require.Less(t, len(all), entries)
	for i := 1; i < len(all); i++ {
		require.Equal(t, all[i-1].At.Index+1, all[i].At.Index)
	}
	_, lost, missed := ring.Read(fsm.EventPlace{Index: 5, Number: 1}, 1)
	require.True(t, missed)
	require.Equal(t, all[0].At.Index-1, lost.Index)
	next, _, missed := ring.Read(lost, 1)
	require.False(t, missed, "whoever has had the last one that is lost misses nothing")
	require.Equal(t, all[:1], next)
	next, _, missed = ring.Read(ring.Newest(3), 10)
	require.False(t, missed)
	require.Equal(t, all[len(all)-3:], next)
	next, _, missed = ring.Read(all[len(all)-1].At, 10)
	require.False(t, missed)
	require.Empty(t, next)
}

func TestFollowersAreWokenByEvents(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	changed := f.watchers.Events().Changed()
	require.Equal(t, changed, f.watchers.Events().Changed())
	f.apply()
	select {
	case <-changed:
		t.Fatal("nothing has happened")
	default:
	}
	f.apply(f.submits(1, &task.Spec{Handler: "h"})...)
	select {
	case <-changed:
	default:
		t.Fatal("nobody is woken")
	}
}

// A server that has received the state does not know what happened before: it says so, instead of beginning anywhere.
func TestAStateThatIsLoadedHasNoEventsOfBefore(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	f.apply(f.submits(1, &task.Spec{Handler: "h"})...)
	require.Len(t, f.all(), 1)
	sender := newBundle(t)
	sender.index = 76
	sender.apply()
	loaded := fsm.New(nothing{}, f.watchers)
	require.NoError(t, loaded.Load(sender.m.TakeBatch().Meta, nil, nil, func(func(*fsm.SavedJob) error) error { return nil }))
	events, lost, missed := f.watchers.Events().Read(fsm.EventPlace{Index: 1, Number: 1}, 10)
	require.Empty(t, events)
	require.True(t, missed)
	require.EqualValues(t, 77, lost.Index)
}

func TestTalliesFollowFromEntries(t *testing.T) {
	t.Parallel()
	f := newFollowed(t)
	session := f.openSession("w", 4)
	job := f.submit(&task.Spec{Handler: "h", MaxAttempts: 2}, 4)
	f.clock += int64(3 * time.Second)
	f.plan(job, 0, 4, session)
	f.report(job, 0, 1, 0, task.OutcomeSucceeded)
	f.report(job, 1, 1, 0, task.OutcomeFailed)
	f.must(cancelOp(job, 2))
	f.closeSession(session)
	got := f.watchers.Tally().Read()
	require.EqualValues(t, 1, got.Submitted)
	require.EqualValues(t, 4, got.Granted)
	require.EqualValues(t, 1, got.Ended[task.Succeeded])
	require.EqualValues(t, 1, got.Ended[task.Cancelled])
	require.EqualValues(t, 1, got.Attempts[task.ReasonError])
	require.EqualValues(t, 1, got.Attempts[task.ReasonWorkerLost])
	require.EqualValues(t, 1, got.SessionsOpened)
	require.EqualValues(t, 1, got.SessionsLost)
	require.EqualValues(t, 4, got.Assign.Count)
	require.InDelta(t, 12, got.Assign.Seconds, 1e-6)
}
