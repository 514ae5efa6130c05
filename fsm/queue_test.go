package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// line is the queues that a view shows, in order.
func (b *testBundle) line() (names []string) {
	for _, q := range b.view(roomy).Queues {
		names = append(names, q.Name)
	}
	require.Empty(b.t, b.m.CheckInvariants())
	return names
}

// The queue that was served least recently comes first.
func TestAGrantEndsTheTurnOfItsQueue(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	a := b.submit(&task.Spec{Handler: "h", Queue: "a"}, 5)
	c := b.submit(&task.Spec{Handler: "h", Queue: "c"}, 5)
	require.Equal(t, []string{"a", "c"}, b.line())
	require.Zero(t, b.plan(a, 3, 1, s).Granted)
	require.Equal(t, []string{"a", "c"}, b.line(), "it was given nothing")
	require.EqualValues(t, 1, b.plan(a, 0, 1, s).Granted)
	require.Equal(t, []string{"c", "a"}, b.line())
	b.submit(&task.Spec{Handler: "h", Queue: "b"}, 5)
	require.Equal(t, []string{"c", "a", "b"}, b.line(), "a new one stands behind those that are there")
	b.plan(c, 0, 1, s)
	b.plan(c, 1, 1, s)
	require.Equal(t, []string{"a", "b", "c"}, b.line())
}

// A queue that cannot be served is passed over, whatever it waits for. It keeps its place for when it can be served
// again.
func TestAQueueThatCannotBeServedKeepsItsPlace(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	label := manyLabels(1)[0]
	b.submit(&task.Spec{Handler: "h", Queue: "waits", Require: []task.Pair{label}}, 5)
	a := b.submit(&task.Spec{Handler: "h", Queue: "a"}, 5)
	c := b.submit(&task.Spec{Handler: "h", Queue: "c"}, 5)
	b.plan(a, 0, 1, s)
	b.plan(c, 0, 1, s)
	require.Equal(t, []string{"a", "c"}, b.line())
	b.openAble("able", 1, label)
	require.Equal(t, []string{"waits", "a", "c"}, b.line())
}

// A queue leaves the line when all its tasks are granted. When some come back, it returns to the place that it had.
func TestAQueueLeavesTheLineWithItsLastTask(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	a := b.submit(&task.Spec{Handler: "h", Queue: "a"}, 2)
	c := b.submit(&task.Spec{Handler: "h", Queue: "c"}, 5)
	b.plan(a, 0, 2, s)
	require.Equal(t, []string{"c"}, b.line())
	b.report(a, 1, 1, 0, task.OutcomeReturned)
	require.Equal(t, []string{"c", "a"}, b.line())
	b.plan(c, 0, 1, s)
	require.Equal(t, []string{"a", "c"}, b.line())
	b.m.Derive()
	require.Equal(t, []string{"a", "c"}, b.line(), "in order of their jobs: turns are not stored")
	b.must(cancelJobOp(c))
	require.Equal(t, []string{"a"}, b.line())
}
