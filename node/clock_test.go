package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const year = 365 * 24 * time.Hour

// A wall clock alone does not move the cluster's time: it may be a year ahead, and the time could not go back.
func TestTheTimeGoesOnFromTheLastEntryWhateverTheWallClockSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c stateClock
		require.Equal(t, time.Now().UnixNano(), c.now(), "a new cluster has nothing else")
		for _, last := range []time.Time{time.Now().Add(-year), time.Now().Add(year)} {
			c = stateClock{}
			c.saw(last.UnixNano())
			time.Sleep(time.Minute)
			require.Equal(t, last.Add(time.Minute).UnixNano(), c.now())
			require.True(t, c.settled())
		}
	})
}

func TestTheTimeFollowsAWallClockThatAMajorityHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c stateClock
		c.saw(time.Now().Add(-time.Second).UnixNano())
		require.Equal(t, time.Second, c.agreed(time.Now()))
		require.Equal(t, time.Now().UnixNano(), c.now())
		require.True(t, c.settled(), "a second is no leap")
		time.Sleep(time.Hour)
		require.Equal(t, time.Now().UnixNano(), c.now())

		c = stateClock{}
		c.saw(time.Now().Add(-year).UnixNano())
		require.Equal(t, year, c.agreed(time.Now()), "the cluster was down, or all clocks were set")
		require.Equal(t, time.Now().UnixNano(), c.now())
		require.False(t, c.settled())
		time.Sleep(clockGrace + 1)
		require.True(t, c.settled())

		ahead := time.Now().Add(year).UnixNano()
		c.saw(ahead)
		require.Negative(t, c.agreed(time.Now()))
		require.Equal(t, ahead, c.now(), "it never goes back")
	})
}

// A server that was cut off gets everything that it has missed at once. That says nothing about when it was written.
func TestEntriesThatComeLateDoNotHoldTheTimeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c stateClock
		c.saw(time.Now().UnixNano())
		missed := []time.Time{}
		for range 3 {
			time.Sleep(time.Second)
			missed = append(missed, time.Now())
		}
		time.Sleep(time.Second)
		for _, at := range missed {
			c.saw(at.UnixNano())
		}
		require.Equal(t, time.Now().UnixNano(), c.now())
	})
}

func TestClocksAreJudgedByAMajority(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		others []time.Duration
		voters int
		want   verdict
	}{
		{"alone", nil, 1, clockAgrees},
		{"nobody answers", nil, 3, clockUnknown},
		{"one of two agrees", []time.Duration{time.Second, year}, 3, clockAgrees},
		{"one agrees, one does not answer", []time.Duration{-maxSkew}, 3, clockAgrees},
		{"one differs, one does not answer", []time.Duration{year}, 3, clockUnknown},
		{"two others agree with each other", []time.Duration{-year, -year + time.Second}, 3, clockOutOfStep},
		{"all differ", []time.Duration{-year, year}, 3, clockUnknown},
		{"a minority agrees", []time.Duration{0, year, year, -year}, 5, clockUnknown},
		{"a majority agrees with each other", []time.Duration{year, 0, year + maxSkew, year + 1}, 5, clockOutOfStep},
		{"a majority agrees with this one", []time.Duration{year, 0, year, -time.Second}, 5, clockAgrees},
	} {
		require.Equal(t, tc.want, judgeClock(tc.others, tc.voters), tc.name)
	}
}
