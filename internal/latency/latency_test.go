package latency

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAHistogramCountsWhatTookNoLongerThanEachBound(t *testing.T) {
	t.Parallel()
	var h Histogram
	for _, took := range []time.Duration{-time.Hour, shortest, shortest + 1, time.Hour} {
		h.Add(took)
	}
	got := h.Read()
	require.EqualValues(t, 4, got.Count)
	require.InDelta(t, (time.Hour + 2*shortest + 1).Seconds(), got.Seconds, 1e-6)
	require.Len(t, got.UpTo, numBounds)
	require.EqualValues(t, 2, got.UpTo[shortest])
	require.EqualValues(t, 3, got.UpTo[bounds[1]])
	require.EqualValues(t, 3, got.UpTo[bounds[numBounds-1]])
	require.Greater(t, bounds[numBounds-1], time.Minute)
}

// A coarse reading has fewer bounds, and each says what it says in a fine one.
func TestACoarseReadingAgreesWithAFineOne(t *testing.T) {
	t.Parallel()
	var h Histogram
	for i := range 1000 {
		h.Add(time.Duration(i*i) * time.Microsecond)
	}
	fine, rough := h.Read(), h.ReadCoarse()
	require.Equal(t, fine.Count, rough.Count)
	require.Len(t, rough.UpTo, 13)
	for bound, n := range rough.UpTo {
		require.Equal(t, fine.UpTo[bound], n)
	}
}

// Nothing overflows, and nothing that is added at the same time is lost.
func TestAMillionTasksOfADayAreCountedFromAllSides(t *testing.T) {
	t.Parallel()
	var h Histogram
	var adding sync.WaitGroup
	for range 8 {
		adding.Go(func() {
			for range 1000 {
				h.AddN(24*time.Hour, 1_000_000)
			}
		})
	}
	adding.Wait()
	got := h.Read()
	require.EqualValues(t, 8_000_000_000, got.Count)
	require.InEpsilon(t, 8e9*86400.0, got.Seconds, 1e-9)
}
