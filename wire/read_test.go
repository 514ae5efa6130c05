package wire

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/peer"
)

func callsOf(t *testing.T, c *arrivingConn) context.Context {
	return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: guardedInfo{nil, c}})
}

// Of thousands of calls that come at once, a few at a time read answers that may be large, fewer
// of one connection, and none of a connection that has ended.
func TestLargeAnswersAreReadAFewAtATime(t *testing.T) {
	t.Parallel()
	const crowds = readAtOnce / ownReadAtOnce
	a, conns := heldConns(t, 100, crowds+2)
	modest, ended := conns[crowds], conns[crowds+1]
	reading, onward, done := make(chan struct{}), make(chan struct{}), make(chan error)
	read := func(c *arrivingConn, places int) {
		for range places {
			go func() {
				done <- Read(callsOf(t, c), func() error {
					reading <- struct{}{}
					<-onward
					return nil
				})
			}()
		}
		for range places {
			<-reading
		}
	}
	refused := func(c *arrivingConn) {
		gone, leave := context.WithCancel(callsOf(t, c))
		leave()
		require.ErrorIs(t, Read(gone, func() error { t.Error("one more reads"); return nil }), context.Canceled)
	}
	read(conns[0], ownReadAtOnce)
	refused(conns[0])
	read(modest, 1) // it does not wait behind the calls of another
	onward <- struct{}{}
	require.NoError(t, <-done)
	for _, c := range conns[1:crowds] {
		read(c, ownReadAtOnce)
	}
	if !t.Failed() {
		close(onward)
	}
	for range readAtOnce {
		require.NoError(t, <-done)
	}
	a.end(ended)
	require.ErrorIs(t, Read(callsOf(t, ended), func() error { t.Error("nobody hears it"); return nil }), errTooMuchHeld)
	ran := false
	require.NoError(t, Read(t.Context(), func() error { ran = true; return nil }), "what comes over no connection is not bounded here")
	require.True(t, ran)
}

// Calls that look through much of the state, however many, leave answers to be read, and time for others.
func TestWalksKeepNobodyFromReading(t *testing.T) {
	t.Parallel()
	const crowds = walksAtOnce / ownWalksAtOnce
	_, conns := heldConns(t, 100, crowds+1)
	walking, onward, done := make(chan struct{}), make(chan struct{}), make(chan error)
	for _, c := range conns[:crowds] {
		for range ownWalksAtOnce {
			go func() {
				done <- Walk(callsOf(t, c), func() error {
					walking <- struct{}{}
					<-onward
					return nil
				})
			}()
		}
	}
	for range walksAtOnce {
		<-walking
	}
	gone, leave := context.WithCancel(callsOf(t, conns[crowds]))
	leave()
	require.ErrorIs(t, Walk(gone, func() error { t.Error("one more walks"); return nil }), context.Canceled)
	require.NoError(t, Read(callsOf(t, conns[0]), func() error { return nil }))
	close(onward)
	for range walksAtOnce {
		require.NoError(t, <-done)
	}
}

// The answers of a connection that has ended stay in memory until gRPC has released them and no call refers to them.
// Those of the next connections once came on top of them.
func TestAnswersOfConnectionsThatHaveEndedCount(t *testing.T) {
	t.Parallel()
	a, conns := heldConns(t, 100, 2)
	a.mostUnsent = 2 * maxLeftOver
	greedy, modest := conns[0], conns[1]
	greedy.begins()
	greedy.answering(a.mostUnsent)
	greedy.answering(1)
	require.EqualValues(t, 1, a.ended.Load())
	require.Zero(t, a.unsent.Load(), "it makes room for others' answers")
	require.EqualValues(t, a.mostUnsent+1, a.inMemory.bytes)

	waited := make(chan error)
	go func() {
		waited <- a.inMemory.wait(t.Context(), func() int64 { return maxLeftOver })
	}()
	require.NoError(t, greedy.Close())
	require.EqualValues(t, a.mostUnsent+1, a.inMemory.bytes, "a call is under way")
	greedy.ends()
	require.NoError(t, <-waited)
	require.Zero(t, a.inMemory.bytes)

	// A client that goes away by itself leaves as much.
	modest.begins()
	modest.answering(10)
	modest.ends()
	require.Zero(t, a.inMemory.bytes)
	require.NoError(t, modest.Close())
	require.Zero(t, a.inMemory.bytes)
	require.Zero(t, a.unsent.Load())
}
