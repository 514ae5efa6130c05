package wire

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDescriptorsAreDividedWithSomeInReserve(t *testing.T) {
	t.Parallel()
	for descriptors, want := range map[uint64]Room{
		256:     {GRPC: 80, Peer: 32, HTTP: 16},
		400:     {GRPC: 174, Peer: 64, HTTP: 34},
		1 << 20: {GRPC: MaxConnections, Peer: MaxPeerConnections, HTTP: MaxWebConnections},
	} {
		room, err := RoomFor(descriptors)
		require.NoError(t, err)
		require.Equal(t, want, room)
		require.LessOrEqual(t, room.GRPC+room.Peer+room.HTTP+ReservedDescriptors, int(descriptors))
	}
	_, err := RoomFor(255)
	require.ErrorContains(t, err, "ulimit -n")
}

// fromSource is a connection from somewhere.
type fromSource struct {
	net.Conn
	host   string
	closed bool
}

func (c *fromSource) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.host), Port: 1} }
func (c *fromSource) Close() error         { c.closed = true; return nil }

// doorBundle is a door of three places.
type doorBundle struct {
	*Door
	clock time.Time
}

func newDoorBundle() *doorBundle {
	b := &doorBundle{Door: NewDoor(nil, 3), clock: time.Unix(1, 0)}
	b.now = func() time.Time { return b.clock }
	return b
}

// come is a connection that has just come; in says whether it was let in.
func (b *doorBundle) come(host string) (c *doorConn, in bool) {
	b.clock = b.clock.Add(time.Millisecond)
	c = &doorConn{Conn: &fromSource{host: host}, door: b.Door}
	c.source = sourceOf(c.RemoteAddr())
	c.hear()
	return c, b.admit(c)
}

func (c *doorConn) isClosed() bool { return c.Conn.(*fromSource).closed }

func TestAFullDoorIsClosedToNewcomersWhileAllAreHeard(t *testing.T) {
	t.Parallel()
	b := newDoorBundle()
	var all []*doorConn
	for range 3 {
		c, in := b.come("10.0.0.1")
		require.True(t, in)
		all = append(all, c)
	}
	_, in := b.come("10.0.0.1")
	require.False(t, in)
	for _, c := range all {
		require.False(t, c.isClosed())
	}
	require.NoError(t, all[1].Close())
	require.NoError(t, all[1].Close())
	_, in = b.come("10.0.0.1")
	require.True(t, in, "a place that was left is free, once")
	_, in = b.come("10.0.0.1")
	require.False(t, in)
}

func TestAQuietConnectionGivesItsPlace(t *testing.T) {
	t.Parallel()
	b := newDoorBundle()
	busy, _ := b.come("10.0.0.1")
	busy.busy.Add(1)
	first, _ := b.come("10.0.0.1")
	second, _ := b.come("10.0.0.1")
	b.clock = b.clock.Add(quiet)
	first.hear()
	b.clock = b.clock.Add(quiet)
	_, in := b.come("10.0.0.1")
	require.True(t, in)
	require.True(t, second.isClosed(), "the one that was quiet for longest")
	_, in = b.come("10.0.0.1")
	require.True(t, in)
	require.True(t, first.isClosed())
	_, in = b.come("10.0.0.1")
	require.False(t, in, "the others were heard a moment ago, or are busy")
	require.False(t, busy.isClosed())
}

func TestOneSourceDoesNotKeepOthersOut(t *testing.T) {
	t.Parallel()
	b := newDoorBundle()
	var greedy []*doorConn
	for range 3 {
		c, _ := b.come("10.0.0.1")
		c.busy.Add(1)
		greedy = append(greedy, c)
	}
	polite, in := b.come("10.0.0.2")
	require.True(t, in)
	require.True(t, greedy[0].isClosed())
	_, in = b.come("10.0.0.1")
	require.False(t, in, "the greedy one gets no place of others")
	_, in = b.come("10.0.0.2")
	require.False(t, in, "nor does it give more than makes them equal")
	_, in = b.come("10.0.0.3")
	require.True(t, in)
	require.True(t, greedy[1].isClosed())
	_, in = b.come("10.0.0.4")
	require.False(t, in, "all have one")
	require.False(t, polite.isClosed())
}

func TestConnectionsThatAreTurnedAwayAreCounted(t *testing.T) {
	t.Parallel()
	b := newDoorBundle()
	a := newArrivals()
	a.most = 3 * streamCost
	first, _ := b.come("10.0.0.1")
	c := newArrivingConn(first, first, a)
	b.come("10.0.0.1")
	b.come("10.0.0.1")
	_, in := b.come("10.0.0.1")
	require.False(t, in)
	require.Equal(t, Turned{}, b.Turned(), "who accepts counts what is refused")
	b.clock = b.clock.Add(2 * quiet)
	_, in = b.come("10.0.0.1")
	require.True(t, in)
	require.Equal(t, Turned{Displaced: 1}, b.Turned())
	a.end(c)
	require.Equal(t, Turned{Displaced: 1, Ended: 1}, b.Turned())
}

func TestADoorEndsAllItsConnections(t *testing.T) {
	t.Parallel()
	b := newDoorBundle()
	one, _ := b.come("10.0.0.1")
	two, _ := b.come("10.0.0.2")
	b.CloseAll()
	require.True(t, one.isClosed())
	require.True(t, two.isClosed())
	require.Zero(t, b.count)
}
