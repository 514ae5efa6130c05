package wire

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/peer"
)

// Of thousands of calls that come at once, a few at a time read answers that may be large, and none
// of a connection that has ended does.
func TestLargeAnswersAreReadAFewAtATime(t *testing.T) {
	t.Parallel()
	a, conns := heldConns(t, 100, 2)
	calls := func(c *arrivingConn) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: guardedInfo{nil, c}})
	}
	reading, onward, done := make(chan struct{}), make(chan struct{}), make(chan error)
	for range readAtOnce {
		go func() {
			done <- Read(calls(conns[0]), func() error {
				reading <- struct{}{}
				<-onward
				return nil
			})
		}()
	}
	for range readAtOnce {
		<-reading
	}
	gone, leave := context.WithCancel(calls(conns[0]))
	leave()
	never := func() error { t.Error("one more reads"); return nil }
	require.ErrorIs(t, Read(gone, never), context.Canceled)
	close(onward)
	for range readAtOnce {
		require.NoError(t, <-done)
	}
	a.end(conns[1])
	require.ErrorIs(t, Read(calls(conns[1]), never), errTooMuchHeld)
	read := false
	require.NoError(t, Read(t.Context(), func() error { read = true; return nil }), "what comes over no connection is not bounded here")
	require.True(t, read)
}
