package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// workers is the workers of sessions, in their order.
func workers(sessions []fsm.Session) (out []string) {
	for _, s := range sessions {
		out = append(out, s.Worker)
	}
	return out
}

// All sessions are listed in order of their ids, pages of them in order of their workers.
func TestSessionsAreListedInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	require.Empty(t, b.m.Sessions())
	require.Empty(t, b.m.SessionsBehind("", 10))
	for _, worker := range []string{"b", "d", "a", "c"} {
		b.openSession(worker, 1)
	}
	require.Equal(t, []string{"b", "d", "a", "c"}, workers(b.m.Sessions()))
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 10, []string{"a", "b", "c", "d"}},
		{"", 4, []string{"a", "b", "c", "d"}},
		{"", 2, []string{"a", "b"}},
		{"b", 1, []string{"c"}},
		{"b", 10, []string{"c", "d"}},
		{"bb", 10, []string{"c", "d"}},
		{"d", 10, nil},
	} {
		require.Equal(t, c.want, workers(b.m.SessionsBehind(c.after, c.limit)), "%d behind %q", c.limit, c.after)
	}
}

func TestASessionIsFoundWhileItIsOpen(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	first := b.openSession("w", 3)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.plan(job, 0, 2, first)
	got, open := b.m.Session(first)
	require.True(t, open)
	require.Equal(t, "w", got.Worker)
	require.EqualValues(t, 2, got.Assigned)
	of, open := b.m.SessionOf("w")
	require.True(t, open)
	require.Equal(t, got, of)
	require.Equal(t, []fsm.Session{got}, b.m.Sessions())
	require.Equal(t, []fsm.Session{got}, b.m.SessionsBehind("", 1))

	second := b.must(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
		Session: &logpb.Session{Worker: "w", Nonce: []byte("n"), Slots: 1}, Replaces: first, ReplacesNonce: []byte("w"),
	}}}).Session
	_, open = b.m.Session(first)
	require.False(t, open)
	of, _ = b.m.SessionOf("w")
	require.Equal(t, second, of.Id)
	require.Zero(t, of.Assigned, "it said nothing of the tasks")
	b.closeSession(second)
	_, open = b.m.SessionOf("w")
	require.False(t, open)
	require.Empty(t, b.m.Sessions())
}

func TestWhoHoldsATask(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, other := b.openSession("w", 5), b.openSession("v", 5)
	job := b.submit(&task.Spec{Handler: "h"}, 6)
	b.plan(job, 0, 4, s)
	b.plan(job, 4, 1, other)
	b.must(cancelOp(job, 1))
	b.report(job, 2, 1, 0, task.OutcomeSucceeded)
	b.report(job, 3, 1, 0, task.OutcomeReturned)
	held := func(session, job uint64) (out []uint32) {
		b.m.Holds(session, func(holds func(uint64, uint32) bool) {
			for i := range uint32(10) {
				if holds(job, i) {
					out = append(out, i)
				}
			}
		})
		return out
	}
	require.Equal(t, []uint32{0, 1}, held(s, job), "also what was asked to stop")
	require.Equal(t, []uint32{4}, held(other, job))
	require.Empty(t, held(99, job))
	require.Empty(t, held(0, job), "nobody holds nothing")
	require.Empty(t, held(s, 99))
}

// A run has neighbours that are alike. Runs come in order of job and index.
func TestWhatASessionHoldsIsToldInRuns(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, other := b.openSession("w", 1000), b.openSession("other", 1)
	first, second := b.submit(&task.Spec{Handler: "h"}, 600), b.submit(&task.Spec{Handler: "h"}, 2)
	told := func() (runs []fsm.HeldTask) {
		require.True(t, b.m.Held(s, func(h fsm.HeldTask) { runs = append(runs, h) }))
		return runs
	}
	run := func(job uint64, first, count uint32, offset int64, attempt uint32, stopping bool) fsm.HeldTask {
		return fsm.HeldTask{
			Grant: fsm.Grant{Session: s, Job: job, First: first, Count: count, TokenOffset: offset, Attempt: attempt}, Stopping: stopping,
		}
	}
	require.Empty(t, told())
	require.False(t, b.m.Held(99, func(fsm.HeldTask) { t.Error("there is no such session") }))
	b.plan(second, 0, 1, s)
	b.plan(second, 1, 1, other)
	b.plan(first, 0, 600, s)
	require.Equal(t, []fsm.HeldTask{run(first, 0, 600, 3, 1, false), run(second, 0, 1, 1, 1, false)}, told(), "over all pages")

	b.report(first, 300, 1, 2, task.OutcomeSucceeded)
	b.must(cancelOp(first, 10))
	b.report(first, 100, 1, 2, task.OutcomeReturned)
	b.report(first, 200, 1, 2, task.OutcomeStopped)
	b.plan(first, 100, 1, s) // token 603, of the same attempt as its neighbours
	b.plan(first, 200, 1, s) // token 604, of another
	require.Equal(t, []fsm.HeldTask{
		run(first, 0, 10, 3, 1, false), run(first, 10, 1, 3, 1, true), run(first, 11, 89, 3, 1, false), run(first, 100, 1, 603-100, 1, false),
		run(first, 101, 99, 3, 1, false), run(first, 200, 1, 604-200, 2, false), run(first, 201, 99, 3, 1, false),
		run(first, 301, 299, 3, 1, false), run(second, 0, 1, 1, 1, false),
	}, told())

	cancel := cancelJobOp(first)
	cancel.GetCancel().Step = 1
	b.must(cancel)
	require.Equal(t, []fsm.HeldTask{
		run(first, 0, 100, 3, 1, true), run(first, 100, 1, 603-100, 1, true), run(first, 101, 99, 3, 1, true), run(first, 200, 1, 604-200, 2, true),
		run(first, 201, 99, 3, 1, true), run(first, 301, 299, 3, 1, true), run(second, 0, 1, 1, 1, false),
	}, told(), "also what the sweep has not reached")
}
