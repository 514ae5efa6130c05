package worker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func contextWithTimeout(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func (d *double) sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int(d.session)
}

func TestLeaseCountsFromBeatsForExclusiveTasksOnly(t *testing.T) {
	t.Parallel()
	l := &lease{}
	require.False(t, l.startable(), "there is no lease yet")
	require.True(t, l.observe(3))
	l.welcome(time.Hour, bootNow(), true)
	require.False(t, l.startable(), "an attach proves nothing")
	current, renewed := l.acknowledge(l.beat(false), 3)
	require.True(t, current)
	require.False(t, renewed, "nor does a beat for ordinary tasks")
	first, second := l.beat(true), l.beat(true)
	current, _ = l.acknowledge(second, 2)
	require.False(t, current, "a deposed leader renews nothing")
	require.False(t, l.startable())
	_, renewed = l.acknowledge(first, 3)
	require.True(t, renewed)
	require.True(t, l.startable())
	require.True(t, l.unanswered())
	l.acknowledge(second, 4)
	require.False(t, l.unanswered())
	require.False(t, l.observe(3), "terms only rise")
	l.welcome(time.Hour, bootNow(), true)
	_, renewed = l.acknowledge(second, 4)
	require.False(t, renewed, "an answer of an earlier stream counts no more")
	require.Zero(t, l.due(false), "a stream begins with a beat")
	l.beat(false)
	require.Positive(t, l.due(false))
	require.Zero(t, l.due(true), "it was not for exclusive tasks")
}
