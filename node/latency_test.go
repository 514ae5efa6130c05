package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALatencyCountsWhatTookNoLongerThanEachBound(t *testing.T) {
	t.Parallel()
	var l latency
	for _, took := range []time.Duration{0, shortestBound, shortestBound + 1, time.Hour} {
		l.add(took)
	}
	got := l.read()
	require.EqualValues(t, 4, got.Count)
	require.Equal(t, time.Hour+2*shortestBound+1, got.Sum)
	require.Len(t, got.UpTo, latencyBounds)
	require.EqualValues(t, 2, got.UpTo[shortestBound])
	require.EqualValues(t, 3, got.UpTo[bounds[1]])
	require.EqualValues(t, 3, got.UpTo[bounds[latencyBounds-1]])
	require.Greater(t, bounds[latencyBounds-1], time.Minute)
}
