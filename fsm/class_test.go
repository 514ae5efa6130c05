package fsm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// Jobs are of one class if the same workers can run them and they need the same kind of room.
func TestWhichJobsAreOfOneClass(t *testing.T) {
	t.Parallel()
	like := task.Spec{Queue: "q", Handler: "h", Require: yes("a", "b")}
	for name, c := range map[string]struct {
		spec task.Spec
		one  bool
	}{
		"the same":                 {like, true},
		"of another priority":      {task.Spec{Queue: "q", Handler: "h", Require: yes("a", "b"), Priority: 3, Name: "n", MaxAttempts: 2}, true},
		"of another queue":         {task.Spec{Queue: "r", Handler: "h", Require: yes("a", "b")}, false},
		"of another handler":       {task.Spec{Queue: "q", Handler: "g", Require: yes("a", "b")}, false},
		"a command":                {task.Spec{Queue: "q", Command: []string{"h"}, Require: yes("a", "b")}, false},
		"that require less":        {task.Spec{Queue: "q", Handler: "h", Require: yes("a")}, false},
		"that require other value": {task.Spec{Queue: "q", Handler: "h", Require: []task.Pair{{Key: "a", Value: "yes"}, {Key: "b", Value: "no"}}}, false},
		"that run one by one":      {task.Spec{Queue: "q", Handler: "h", Require: yes("a", "b"), Serial: true}, false},
		"whose parts only run on":  {task.Spec{Queue: "qh", Require: yes("a", "b")}, false},
	} {
		require.Equal(t, c.one, classKey(&like) == classKey(&c.spec), name)
	}
}

// A class has its jobs in order of priority, then of submit.
func TestTheLineOfAClass(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	jobs := map[string]*job{}
	for _, c := range []struct {
		name     string
		priority int32
	}{{"first", 0}, {"second", 0}, {"urgent", 9}, {"late", -1}, {"third", 0}} {
		jobs[c.name] = m.submits(t, &task.Spec{Handler: "h", Name: c.name, Priority: c.priority}, 1)
	}
	line := func() (names []string) {
		require.Empty(t, m.CheckInvariants())
		jobs["first"].spec.class.line.Scan(func(p place) bool {
			names = append(names, p.job.spec.Name)
			return true
		})
		return names
	}
	require.Equal(t, []string{"urgent", "first", "second", "third", "late"}, line())
	m.cancels(t, jobs["urgent"])
	m.cancels(t, jobs["second"])
	require.Equal(t, []string{"first", "third", "late"}, line())
}

// When memory has no job of a class any more, nothing is left of the class, nor of its queue.
func TestAClassGoesWithItsLastSpec(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	one, other := m.submits(t, &task.Spec{Handler: "h", Queue: "q"}, 1), m.submits(t, &task.Spec{Handler: "h", Queue: "q", Priority: 1}, 1)
	require.Same(t, one.spec.class, other.spec.class)
	for n, j := range []*job{one, other} {
		require.Equal(t, 2-n, j.spec.class.specs)
		m.cancels(t, j)
		m.Flushed(m.TakeBatch())
		require.Empty(t, m.CheckInvariants())
	}
	require.Empty(t, m.classes)
	require.Empty(t, m.queues)
}
