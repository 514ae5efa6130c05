package wire

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
)

// heldConns returns connections of one account that lets them hold so much.
func heldConns(t *testing.T, most int64, n int) (a *arrivals, conns []*arrivingConn) {
	t.Helper()
	a = newArrivals()
	a.mostHeld = most
	for range n {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		conns = append(conns, newArrivingConn(ours, ours, a))
	}
	return a, conns
}

// Who holds most is ended when all together hold too much; what it held counts no more.
func TestTheConnectionThatHoldsMostIsEnded(t *testing.T) {
	t.Parallel()
	a, conns := heldConns(t, 100, 2)
	modest, greedy, other := &Holding{conn: conns[0]}, &Holding{conn: conns[1]}, &Holding{conn: conns[1]}
	modest.Take(30)
	greedy.Take(40)
	other.Take(30)
	require.Zero(t, a.ended.Load())
	modest.Take(1)
	require.EqualValues(t, 1, a.ended.Load())
	require.True(t, conns[1].dead)
	require.False(t, conns[0].dead)
	require.EqualValues(t, 31, a.held.Load())
	// Calls of a connection that has ended may go on for a moment, and what they hold is there.
	greedy.Take(1000)
	greedy.Give(5)
	require.EqualValues(t, 31, a.held.Load())
	require.EqualValues(t, 31+35+1000+30, a.inMemory.bytes)
	waited := make(chan error)
	go func() { waited <- a.inMemory.atMost(t.Context(), 100) }()
	greedy.End()
	require.NoError(t, <-waited)
	other.End()
	require.EqualValues(t, 31, a.held.Load())
	require.EqualValues(t, 31, a.inMemory.bytes)
	modest.End()
	require.Zero(t, a.held.Load())
}

// What is given back before its call ends is taken off once, and nothing is added behind the end.
func TestACallThatHasEndedHoldsNothing(t *testing.T) {
	t.Parallel()
	a, conns := heldConns(t, 100, 1)
	h := &Holding{conn: conns[0]}
	h.Take(50)
	h.Give(20)
	require.EqualValues(t, 30, a.held.Load())
	h.End()
	h.Give(20)
	h.Take(10)
	require.Zero(t, a.held.Load())
	require.Zero(t, a.inMemory.bytes)
	require.Zero(t, conns[0].held.Load())
}

// What the metadata of a call takes is in memory until the call ends. That of honest calls is little.
func TestLargeMetadataCounts(t *testing.T) {
	t.Parallel()
	a, conns := heldConns(t, 1<<20, 1)
	weigh := func(md metadata.MD) func() {
		ctx, err := weighHeaders(t.Context(), &tap.Info{Header: md})
		require.NoError(t, err)
		return conns[0].holdHeaders(ctx)
	}
	plain := metadata.Pairs(":authority", "server:7420", "content-type", "application/grpc", "user-agent", "grpc-go/1.85.0", "grpc-accept-encoding", "gzip", ForwardedKey, "1")
	weigh(plain)()
	release := weigh(plain)
	require.Zero(t, a.held.Load())
	release()
	many := metadata.MD{}
	for i := range 200 {
		many.Append(strconv.Itoa(i), "")
	}
	release = weigh(many)
	require.Greater(t, a.held.Load(), int64(200*fieldCost))
	release()
	require.Zero(t, a.held.Load())
}
