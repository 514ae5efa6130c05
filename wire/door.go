package wire

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// ReservedDescriptors is how many file descriptors connections from outside cannot take: the log has up to 20
	// files, and state.db, snapshots and connections to other servers need some.
	ReservedDescriptors = 128
	// leastDescriptors is how many a server needs to start: with fewer there is hardly room for connections.
	leastDescriptors = 256
	// MaxConnections bounds the connections of the gRPC port: one for each worker that a cluster may have, and some for
	// clients. An idle one takes about 20 KiB.
	MaxConnections = 24 << 10
	// MaxPeerConnections bounds those of the Raft port. Each server has a few to each other.
	MaxPeerConnections = 64
	// MaxWebConnections bounds those of the HTTP port: monitoring and browsers.
	MaxWebConnections = 256
	// quiet is how long a connection must have received nothing before a new one may take its place.
	quiet = time.Second
)

// Room is how many connections each port of a server may have.
type Room struct{ GRPC, Peer, HTTP int }

// RoomFor divides the descriptors of a process so that the log and the state always get theirs, whatever comes from
// outside.
func RoomFor(descriptors uint64) (Room, error) {
	if descriptors < leastDescriptors {
		return Room{}, fmt.Errorf("a server needs %d file descriptors at least and may have %d: raise the limit (ulimit -n)", leastDescriptors, descriptors)
	}
	room := int(min(descriptors, 1<<20)) - ReservedDescriptors
	r := Room{Peer: min(MaxPeerConnections, room/4), HTTP: min(MaxWebConnections, room/8)}
	r.GRPC = min(MaxConnections, room-r.Peer-r.HTTP)
	return r, nil
}

// Door is a listener with room for a number of connections. When it is full, a new connection takes the place of one of
// the source (an IP address) with the most connections: of one that has no call under way and has been quiet for a moment
// or, if its own source has fewer, of any. So nobody who takes all places keeps out servers and workers of other machines.
// If there is no such connection, the new one is closed at once, so that its client goes to another server.
type Door struct {
	net.Listener
	max int
	now func() time.Time

	mu    sync.Mutex
	count int
	// open is the connections by source.
	open map[string]map[*doorConn]struct{}
	// refused, displaced and ended count what Turned does.
	refused, displaced, ended atomic.Int64
	// tooLarge is the count of requests that were too large; nil: no connection has come.
	tooLarge atomic.Pointer[tooLarge]
}

// NewDoor returns a listener that lets in a bounded number of the connections of another.
func NewDoor(l net.Listener, most int) *Door {
	return &Door{Listener: l, max: most, now: time.Now, open: map[string]map[*doorConn]struct{}{}}
}

// Turned counts the connections that were turned away since a door was opened.
type Turned struct {
	// Refused ones found no place, and Displaced ones gave theirs to others.
	Refused, Displaced int64
	// Ended ones had to end for what they took: requests that did not arrive, answers that they did not read.
	Ended int64
}

// Turned is how many connections were turned away so far.
func (d *Door) Turned() Turned {
	return Turned{d.refused.Load(), d.displaced.Load(), d.ended.Load()}
}

// doorConn is a connection that has come through a door.
type doorConn struct {
	net.Conn
	door   *Door
	source string
	// heard is when something was read last, Unix ns.
	heard atomic.Int64
	// busy is how many calls are under way on it: its server counts them.
	busy atomic.Int64
	gone sync.Once
}

// Accept implements net.Listener.
func (d *Door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &doorConn{Conn: conn, door: d, source: sourceOf(conn.RemoteAddr())}
		c.hear()
		if d.admit(c) {
			return c, nil
		}
		d.refused.Add(1)
		_ = conn.Close() // nobody has it yet
	}
}

func sourceOf(addr net.Addr) string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	return host
}

// admit makes room for a connection; false: there is none.
func (d *Door) admit(c *doorConn) bool {
	d.mu.Lock()
	var out *doorConn
	if d.count >= d.max {
		if out = d.leaver(c.source); out == nil {
			d.mu.Unlock()
			return false
		}
		d.forget(out)
	}
	if d.open[c.source] == nil {
		d.open[c.source] = map[*doorConn]struct{}{}
	}
	d.open[c.source][c] = struct{}{}
	d.count++
	d.mu.Unlock()
	if out != nil {
		d.displaced.Add(1)
		_ = out.Close() // its reader gets the error
	}
	return true
}

// leaver is the connection that gives its place to one from source; nil: there is none. mu is held.
func (d *Door) leaver(source string) (out *doorConn) {
	most := source
	for s, conns := range d.open {
		if len(conns) > len(d.open[most]) {
			most = s
		}
	}
	// After the exchange the newcomer's source must not have more than the other one.
	anyOne := len(d.open[most]) > len(d.open[source])+1
	deadline := d.now().Add(-quiet).UnixNano()
	for c := range d.open[most] {
		quietNow := c.busy.Load() == 0 && c.heard.Load() <= deadline
		if (quietNow || anyOne) && (out == nil || c.leavesBefore(out)) {
			out = c
		}
	}
	return out
}

// leavesBefore says which of two gives its place: one that does nothing, and the longer quiet.
func (c *doorConn) leavesBefore(other *doorConn) bool {
	if busy := c.busy.Load() > 0; busy != (other.busy.Load() > 0) {
		return !busy
	}
	return c.heard.Load() < other.heard.Load()
}

// forget removes a connection. mu is held.
func (d *Door) forget(c *doorConn) {
	c.gone.Do(func() {
		d.count--
		if delete(d.open[c.source], c); len(d.open[c.source]) == 0 {
			delete(d.open, c.source)
		}
	})
}

// CloseAll ends all open connections. gRPC would wait ten seconds for one that has not sent anything yet.
func (d *Door) CloseAll() {
	d.mu.Lock()
	var all []*doorConn
	for _, conns := range d.open {
		for c := range conns {
			all = append(all, c)
		}
	}
	d.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // its reader gets the error
	}
}

// Read implements net.Conn.
func (c *doorConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.hear()
	}
	return n, err
}

func (c *doorConn) hear() { c.heard.Store(c.door.now().UnixNano()) }

// Close implements net.Conn.
func (c *doorConn) Close() error {
	c.door.mu.Lock()
	c.door.forget(c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn implements syscall.Conn, for readers that wait for data before they take memory for it.
func (c *doorConn) SyscallConn() (syscall.RawConn, error) {
	if raw, ok := c.Conn.(syscall.Conn); ok {
		return raw.SyscallConn()
	}
	return nil, syscall.ENOTSUP
}
