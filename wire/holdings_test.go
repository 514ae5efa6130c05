package wire

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
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
