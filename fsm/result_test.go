package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// Results are read in the order in which they came, from any of them on.
func TestResultsAreReadFromACursorOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	job := b.submit(&task.Spec{Handler: "h"}, 10)
	b.plan(job, 0, 10, s)
	b.report(job, 4, 3, 0, task.OutcomeSucceeded)
	b.report(job, 0, 2, 0, task.OutcomeSucceeded)
	for _, c := range []struct {
		cursor uint32
		limit  int
		want   []task.Range // of cursors
	}{
		{0, 1 << 20, []task.Range{{First: 0, Count: 3}, {First: 3, Count: 2}}},
		{2, 1 << 20, []task.Range{{First: 0, Count: 3}, {First: 3, Count: 2}}},
		{3, 1 << 20, []task.Range{{First: 3, Count: 2}}},
		{0, 1, []task.Range{{First: 0, Count: 3}}},
		{5, 1 << 20, nil},
	} {
		segments, ok := b.m.Segments(job, c.cursor, c.limit)
		require.Equal(t, c.want != nil, ok, "%+v", c)
		var got []task.Range
		for _, s := range segments {
			got = append(got, task.Range{First: s.First, Count: s.Count})
		}
		require.Equal(t, c.want, got, "%+v", c)
	}
	_, ok := b.m.Segments(99, 0, 1)
	require.False(t, ok, "there is no such job")

	b.flush()
	b.report(job, 9, 1, 0, task.OutcomeSucceeded)
	_, ok = b.m.Segments(job, 4, 1<<20)
	require.False(t, ok, "it is on disk")
	segments, ok := b.m.Segments(job, 5, 1<<20)
	require.True(t, ok)
	require.EqualValues(t, 9, segments[0].Segment.Ranges[0].First)
}

// Each outcome has the next cursor of its job.
func TestTheCursorOfAnOutcome(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1000)
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 1}, 300)
	b.plan(job, 0, 299, s)
	b.report(job, 7, 2, 0, task.OutcomeSucceeded)
	b.report(job, 0, 1, 0, task.OutcomeFailed)
	type answer struct {
		cursor       uint32
		final, known bool
	}
	ask := func(job uint64, i uint32) answer {
		cursor, final, known := b.m.Cursor(job, i)
		return answer{cursor, final, known}
	}
	require.Equal(t, answer{0, true, true}, ask(job, 7))
	require.Equal(t, answer{1, true, true}, ask(job, 8))
	require.Equal(t, answer{2, true, true}, ask(job, 0))
	require.Equal(t, answer{0, false, true}, ask(job, 1), "it is under way")
	require.Equal(t, answer{0, false, true}, ask(job, 299), "it was never touched")
	require.Equal(t, answer{}, ask(job, 300), "the job has no such task")
	require.Equal(t, answer{}, ask(99, 0))

	b.report(job, 1, 6, 0, task.OutcomeSucceeded)
	b.report(job, 9, 247, 0, task.OutcomeSucceeded)
	b.flush()
	require.Equal(t, answer{0, true, false}, ask(job, 7), "the whole page is on disk")
	require.Equal(t, answer{0, false, true}, ask(job, 256))
}
