package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Each job that has not ended is in memory on every server, so there is an end to them.
func TestJobsThatHaveNotEndedAreBounded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const most = 3
	b.m.SetMostLiveJobs(most)
	one := func(key string) *logpb.Op {
		return submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Key: key, Hash: []byte(key), Tasks: &logpb.Tasks{Count: 1}})
	}
	first := b.must(one("a")).Job
	b.must(one("b"))
	results := b.apply(one("c"), one("d"), one("a"))
	require.NoError(t, results[0].Err)
	require.ErrorIs(t, results[1].Err, task.ErrExhausted)
	require.ErrorContains(t, results[1].Err, "cancel")
	require.NoError(t, results[2].Err, "what was accepted before is answered as before")
	require.Equal(t, first, results[2].Job)
	require.Empty(t, b.m.CheckInvariants())
	// A job that ends makes room, and what was refused has left nothing behind.
	b.must(cancelJobOp(first))
	require.Equal(t, uint64(most+1), b.must(one("d")).Job)
	require.ErrorIs(t, b.apply(one("e"))[0].Err, task.ErrExhausted)
	session := b.openSession("w", 1)
	b.plan(2, 0, 1, session)
	b.report(2, 0, 1, 0, task.OutcomeSucceeded)
	b.must(one("e"))
	require.Empty(t, b.m.CheckInvariants())
}

// One byte more, and ten million of them take 320 MB more: the next size that Go allocates is 416.
func TestAJobTakesNoMoreMemoryThanItMust(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, fsm.JobBytes, uintptr(384))
}
