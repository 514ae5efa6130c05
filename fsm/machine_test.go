package fsm_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

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

// TestDigestsDifferWhereStatesDo: two machines that differ in one fact have different digests.
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

func TestAnEntryFollowsTheOneThatWasApplied(t *testing.T) {
	t.Parallel()
	m := fsm.New(nil, nil)
	require.NoError(t, m.CheckFollows(1, fsm.Place{}))
	require.ErrorIs(t, m.CheckFollows(5, fsm.Place{Index: 4, Term: 2}), fsm.ErrGap)
	m.ApplyConfiguration(7, 3, nil)
	require.NoError(t, m.CheckFollows(9, fsm.Place{Index: 7, Term: 3}), "the entries in between are not for the state machine")
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
	require.Equal(t, "c", string(b.m.TakeBatch().Meta.Configuration))
	require.Equal(t, b.index+5, b.m.AppliedIndex())
}
