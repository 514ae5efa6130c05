package stopwatch

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAStopwatchRunsFromStartToStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s Stopwatch
		require.Zero(t, s.Running())
		s.Start()
		time.Sleep(3 * time.Second)
		require.Equal(t, 3*time.Second, s.Running())
		s.Stop()
		require.Zero(t, s.Running())
	})
}

// A wall clock that is set an hour ahead while a write is under way made a stalled disk of
// it: submits were refused, and leaders could end. Only the monotonic reading, which a time
// shows in its text, is safe from that.
func TestAStopwatchKeepsTheMonotonicClock(t *testing.T) {
	t.Parallel()
	var s Stopwatch
	s.Start()
	require.True(t, strings.Contains(s.began.Load().String(), " m="), "began at %v", s.began.Load())
}
