package fsm

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// grouped makes Advance group all queues, and returns the pool of each job.
func grouped(t *testing.T, m *Machine, jobs ...*job) (pools []*pool) {
	t.Helper()
	m.Advance(1, 0)
	require.Empty(t, m.CheckInvariants())
	for _, j := range jobs {
		require.NotNil(t, j.spec.class.pool)
		pools = append(pools, j.spec.class.pool)
	}
	return pools
}

func yes(keys ...string) (require []task.Pair) {
	for _, key := range keys {
		require = append(require, task.Pair{Key: key, Value: "yes"})
	}
	return require
}

// Classes of a queue that the same workers can run share a pool, except that exclusive work, which needs a free
// slot, has a pool of its own.
func TestClassesThatTheSameWorkersCanRunShareAPool(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	able := m.opens(t, "able", 1, []string{"g", "h"}, "a", "b")
	m.opens(t, "other", 1, []string{"h"})
	h := m.submits(t, &task.Spec{Handler: "h"}, 1)
	for name, c := range map[string]struct {
		spec   task.Spec
		shared bool
	}{
		"of another priority":       {task.Spec{Handler: "h", Priority: 7}, true},
		"exclusive":                 {task.Spec{Handler: "h", Serial: true}, false},
		"that only one can run":     {task.Spec{Handler: "g"}, false},
		"that nobody can run":       {task.Spec{Handler: "none"}, false},
		"of a queue of its own":     {task.Spec{Handler: "h", Queue: "q"}, false},
		"with a label that one has": {task.Spec{Handler: "h", Require: yes("a")}, false},
	} {
		p := grouped(t, m, h, m.submits(t, &c.spec, 1))
		require.Equal(t, c.shared, p[0] == p[1], name)
	}
	a, b := m.submits(t, &task.Spec{Handler: "h", Require: yes("a")}, 1), m.submits(t, &task.Spec{Handler: "h", Require: yes("b")}, 1)
	p := grouped(t, m, a, b)
	require.Same(t, p[0], p[1])
	require.Equal(t, setOf(able.able.at), p[0].accepting)
}

// The classes of a pool stand in order of their heads, and follow them.
func TestThePoolFollowsTheHeadsOfItsClasses(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	m.opens(t, "w", 1, []string{"h"}, "a", "b")
	a := m.submits(t, &task.Spec{Handler: "h", Require: yes("a")}, 1)
	b := m.submits(t, &task.Spec{Handler: "h", Require: yes("b")}, 1)
	first := func() *class {
		c, _ := grouped(t, m, b)[0].line.Min()
		return c
	}
	require.Same(t, a.spec.class, first())
	urgent := m.submits(t, &task.Spec{Handler: "h", Require: yes("b"), Priority: 1}, 1)
	require.Same(t, b.spec.class, first())
	m.cancels(t, urgent)
	require.Same(t, a.spec.class, first())
	m.cancels(t, a)
	require.Same(t, b.spec.class, first())
	pools := &b.spec.class.queue.pools
	require.Len(t, pools.list, 1)
	m.cancels(t, b)
	require.Empty(t, pools.list, "it goes with its last class")
	require.Empty(t, pools.byKey)
}

// When a worker comes, only the classes that it can run change their pool. If too many have come to check each of
// them, the pools are built anew.
func TestPoolsFollowTheWorkersThatCome(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	m.opens(t, "w", 1, []string{"g", "h"})
	g, h := m.submits(t, &task.Spec{Handler: "g"}, 1), m.submits(t, &task.Spec{Handler: "h"}, 1)
	before := grouped(t, m, g, h)
	require.Same(t, before[0], before[1])
	m.opens(t, "alike", 1, []string{"g", "h"})
	m.opens(t, "another", 1, []string{"g"})
	after := grouped(t, m, g, h)
	require.Same(t, before[1], after[1])
	require.NotSame(t, before[0], after[0])
	require.Equal(t, 2, after[0].accepting.count())
	for i := range maxJoined + 1 {
		m.opens(t, fmt.Sprint("w", i), 1, []string{"none"}, fmt.Sprint("label", i))
	}
	require.NotSame(t, after[1], grouped(t, m, g, h)[1])
}
