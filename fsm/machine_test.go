package fsm_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// TestAFinishedJobIsCollectedWhereverItIs: that of the leader may be on disk while
// that of a follower is not.
func TestAFinishedJobIsCollectedWhereverItIs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.must(cancelJobOp(job))
	b.clock += int64(task.RetainOther)
	r := b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
	require.EqualValues(t, 1, r.Total)
	_, ok := b.m.Job(job)
	require.False(t, ok)
	require.True(t, b.m.Collected(job))
	c := b.m.Cut()
	require.Zero(t, c.Meta.JobsSum, "it has a share in the digest still")
	require.Equal(t, []uint64{job}, c.Deleted)
	b.m.Flushed(c)
	require.False(t, b.m.Collected(job))
	require.Empty(t, b.m.CheckInvariants())
}

func TestAJobCollectedWhileItIsWrittenIsForgottenOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	spec := &task.Spec{Handler: "h", Retention: time.Second}
	job, other := b.submit(spec, 1), b.submit(spec, 1)
	b.must(cancelJobOp(job))
	c := b.m.Cut()
	b.clock += int64(time.Second)
	b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
	b.m.Flushed(c)
	require.Empty(t, b.m.CheckInvariants())
	s := b.openSession("w", 1)
	require.EqualValues(t, 1, b.plan(other, 0, 1, s).Granted)
}

// TestTheClockIsNeverZeroNorBeyondItsEnd: zero stands for "not yet", and a deadline
// that overflows would lie in the past.
func TestTheClockIsNeverZeroNorBeyondItsEnd(t *testing.T) {
	t.Parallel()
	for _, clock := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
		b := newBundle(t)
		b.clock = clock
		job := b.must(submitOp(t, &task.Spec{Handler: "h", Expire: task.MaxDelay}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}, Key: "k"})).Job
		r := b.must(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}}}})
		require.Zero(t, r.Cancelled, "it has expired at once")
		b.must(cancelJobOp(job))
		rec, _ := b.m.Job(job)
		require.NotZero(t, rec.FinishedNs)
		require.ErrorIs(t, b.apply(cancelJobOp(job))[0].Err, task.ErrConflict)
		r = b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}, Keys: []*logpb.KeyRef{{Queue: task.DefaultQueue, Key: "k"}}}}})
		require.Zero(t, r.Total, "it is collected at once")
	}
}

func TestAViewShowsSessionsInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, w := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		b.openSession(w, 1)
	}
	for range 20 {
		for i, s := range b.view(roomy).Sessions {
			require.EqualValues(t, i+1, s.ID)
		}
	}
}

// Only tasks without payloads to speak of are light.
func TestAViewTellsLightTasksFromOthers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.openSession("w", 1)
	array := b.submit(&task.Spec{Handler: "h"}, 2)
	shared := b.submit(&task.Spec{Handler: "h", SharedPayload: make([]byte, 2000)}, 2)
	own := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(2)})).Job
	light := map[uint64]bool{}
	for _, q := range b.view(roomy).Queues {
		for _, j := range q.Jobs {
			light[j.ID] = j.Light
		}
	}
	require.Equal(t, map[uint64]bool{array: true, shared: false, own: false}, light)
}

// TestDigestsDifferWhereStatesDo: two machines that differ in one fact tell by it.
func TestDigestsDifferWhereStatesDo(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	for name, change := range map[string]func(b *testBundle, job, s uint64){
		"nothing":              func(*testBundle, uint64, uint64) {},
		"a task is granted":    func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s) },
		"another is":           func(b *testBundle, job, s uint64) { b.must(cancelOp(job, 0)); b.plan(job, 1, 1, s) },
		"a task is cancelled":  func(b *testBundle, job, _ uint64) { b.must(cancelOp(job, 0)) },
		"another is cancelled": func(b *testBundle, job, _ uint64) { b.must(cancelOp(job, 1)) },
		"a page is cancelled":  func(b *testBundle, job, _ uint64) { b.must(cancelJobOp(job)) },
		"a task has failed":    func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.report(job, 0, 1, 0, task.OutcomeFailed) },
		"a task has succeeded": func(b *testBundle, job, s uint64) {
			b.plan(job, 0, 1, s)
			b.report(job, 0, 1, 0, task.OutcomeSucceeded)
		},
		"a task was returned":  func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.report(job, 0, 1, 0, task.OutcomeReturned) },
		"a task is stopping":   func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.must(cancelOp(job, 0)) },
		"a worker was lost":    func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.closeSession(s) },
		"a session was closed": func(b *testBundle, _, s uint64) { b.closeSession(s) },
		"another job":          func(b *testBundle, _, _ uint64) { b.submit(&task.Spec{Handler: "h"}, 1) },
		"another job of two":   func(b *testBundle, _, _ uint64) { b.submit(&task.Spec{Handler: "h"}, 2) },
		"another job, named":   func(b *testBundle, _, _ uint64) { b.submit(&task.Spec{Handler: "h", Name: "n"}, 1) },
		"another job with key": func(b *testBundle, _, _ uint64) {
			b.must(submitOp(b.t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(1), Key: "k"}))
		},
		"another job, open": func(b *testBundle, _, _ uint64) {
			b.must(submitOp(b.t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(1), Open: true}))
		},
		"a later clock": func(b *testBundle, _, _ uint64) { b.clock++; b.apply() },
		"the id of the cluster": func(b *testBundle, _, _ uint64) {
			b.must(&logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: "c"}}})
		},
	} {
		b := newBundle(t)
		change(b, b.submit(&task.Spec{Handler: "h"}, 300), b.openSession("w", 2))
		_, digest := b.m.Digest()
		require.Empty(t, seen[digest], "%s looks like %s", name, seen[digest])
		seen[digest] = name
		b.must(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: 9}}})
		index, at, ok := b.m.DigestAt(9)
		require.True(t, ok)
		require.Equal(t, digest, at)
		require.Equal(t, b.index, index)
	}
}

func TestDigestsOfCheckpointsAreForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for id := range uint64(20) {
		b.must(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: id}}})
	}
	_, _, ok := b.m.DigestAt(3)
	require.False(t, ok)
	_, _, ok = b.m.DigestAt(19)
	require.True(t, ok)
}

func TestWatchersOfAJobAreWokenByItsChanges(t *testing.T) {
	t.Parallel()
	watchers := fsm.NewWatchers()
	b := newBundle(t)
	b.m = fsm.New(nothing{}, watchers)
	s := b.openSession("w", 1)
	one, two := b.submit(&task.Spec{Handler: "h"}, 1), b.submit(&task.Spec{Handler: "h"}, 1)
	changed, stop := watchers.Watch(one)
	other, stopOther := watchers.Watch(one)
	stopOther()
	b.plan(two, 0, 1, s)
	require.Empty(t, changed)
	b.plan(one, 0, 1, s)
	b.must(cancelJobOp(one))
	require.Len(t, changed, 1, "changes that come while one waits are one")
	require.Empty(t, other)
	<-changed
	watchers.WakeAll()
	require.Len(t, changed, 1)
	stop()
}

func TestAHelloIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	hello := func(nonce string, replaces uint64, proof string) fsm.Result {
		return b.apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
			Session: &logpb.Session{Worker: "w", Slots: 1, Nonce: []byte(nonce)}, Replaces: replaces, ReplacesNonce: []byte(proof),
		}}})[0]
	}
	first := hello("a", 0, "")
	require.NoError(t, first.Err)
	again := hello("a", 0, "")
	require.True(t, again.Existed)
	require.Equal(t, first.Session, again.Session)
	require.ErrorIs(t, hello("b", 0, "").Err, task.ErrConflict, "a second live process of the same worker")
	for _, proof := range []string{"", "b", "A"} {
		require.ErrorIs(t, hello("b", first.Session, proof).Err, task.ErrConflict, "ids count up: anybody can name one")
	}
	replaced := hello("b", first.Session, "a")
	require.NoError(t, replaced.Err)
	require.NotEqual(t, first.Session, replaced.Session)
	_, open := b.m.Session(first.Session)
	require.False(t, open)
}

func TestAnEntryFollowsTheOneThatWasApplied(t *testing.T) {
	t.Parallel()
	m := fsm.New(nil, nil)
	require.NoError(t, m.CheckFollows(1, fsm.Place{}))
	require.ErrorIs(t, m.CheckFollows(5, fsm.Place{Index: 4, Term: 2}), fsm.ErrGap)
	m.ApplyConfiguration(7, 3, nil)
	require.NoError(t, m.CheckFollows(9, fsm.Place{Index: 7, Term: 3}), "what lies between is none of the state machine's")
	require.NoError(t, m.CheckFollows(7, fsm.Place{Index: 4, Term: 2}), "it was applied already")
	for _, prev := range []fsm.Place{{}, {Index: 6, Term: 3}, {Index: 8, Term: 3}, {Index: 7, Term: 2}, {Index: 7, Term: 4}} {
		require.ErrorIs(t, m.CheckFollows(9, prev), fsm.ErrGap)
	}
}

func TestApplySkipsWhatItHas(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	op := submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(1)})
	b.must(op)
	data, err := fsm.EncodeEntry(fsm.GateVersion, b.clock, []*logpb.Op{proto.CloneOf(op)})
	require.NoError(t, err)
	for _, index := range []uint64{0, b.index} {
		results, err := b.m.Apply(index, 1, data)
		require.NoError(t, err)
		require.Nil(t, results)
	}
	require.Equal(t, 1, b.m.Stats().Jobs)
	b.m.ApplyConfiguration(b.index+5, 2, []byte("c"))
	b.m.ApplyConfiguration(b.index+1, 1, []byte("old"))
	require.Equal(t, "c", string(b.m.Cut().Meta.Configuration))
	require.Equal(t, b.index+5, b.m.AppliedIndex())
}

// However many tasks are due at once, Advance looks at so many of them and says that there are more.
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
