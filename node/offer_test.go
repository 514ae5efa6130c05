package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A reason that lasts must not make leaders hand leadership around without a pause.
func TestLeadershipIsOfferedNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		offered := 0
		var outcome chan error
		o := offer{logger: silent, handOver: func() <-chan error {
			offered++
			outcome = make(chan error, 1)
			return outcome
		}}
		// look checks again and again for a while.
		look := func(during time.Duration) int {
			before := offered
			for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				o.make("a reason that lasts")
			}
			return offered - before
		}
		require.Equal(t, 1, look(2*offerPause), "one at a time")
		outcome <- errNobody
		require.Equal(t, 0, look(offerRetry))
		require.Equal(t, 1, look(offerRetry), "nobody took it: soon again")
		outcome <- nil
		require.Equal(t, 0, look(offerPause-2*offerRetry), "somebody took it, and gave it back")
		require.Equal(t, 1, look(3*offerRetry))
	})
}
