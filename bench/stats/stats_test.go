package stats

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	require.Equal(t, Spread{}, Of(nil))
	require.Equal(t, Spread{Median: 3, Min: 3, Max: 3}, Of([]float64{3}))
	require.Equal(t, Spread{Median: 2.5, Min: 1, Max: 9}, Of([]float64{9, 1, 2, 3}))
	require.Equal(t, Spread{Median: 2, Min: 1, Max: 9}, Of([]float64{9, 1, 2}))
}

func TestSpreadLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	values := []float64{3, 1, 2}
	Of(values)
	require.Equal(t, []float64{3, 1, 2}, values)
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var d []time.Duration
	for i := range 200 {
		d = append(d, time.Duration(200-i)*time.Millisecond)
	}
	require.InDelta(t, 100, Percentile(d, 50), 0)
	require.InDelta(t, 198, Percentile(d, 99), 0)
	require.InDelta(t, 200, Percentile(d, 100), 0)
	require.InDelta(t, 1, Percentile(d, 0), 0)
	require.InDelta(t, 7, Percentile([]time.Duration{7 * time.Millisecond}, 99), 0)
	require.Zero(t, Percentile(nil, 50))
}

func TestRatiosArePairwise(t *testing.T) {
	t.Parallel()
	require.Equal(t, []float64{2, 5}, Ratios([]float64{4, 3, 5}, []float64{2, 0, 1, 8}))
	require.Nil(t, Ratios(nil, []float64{1}))
}

func TestRound(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 123000, Round(123456, 3), 0)
	require.InDelta(t, 1.23, Round(1.2345, 3), 1e-12)
	require.InDelta(t, 0.00123, Round(0.0012345, 3), 1e-12)
	require.Zero(t, Round(0, 3))
}
