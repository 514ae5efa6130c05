package raftnet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

const (
	// handshakeTimeout bounds how long a connection may take for its handshake, and to be let in.
	handshakeTimeout = transportTimeout
	// maxHandshakes bounds the connections that have yet to shake hands. Another one takes the place of
	// the oldest: servers of the cluster do so at once, and are in within a round trip.
	maxHandshakes = 64
)

// acceptor is raft's listener: it hands out connections of servers that were admitted.
//
// Raft's transport has a buffer and a goroutine for each connection from its beginning, and
// decodes what comes. Whoever is not let in gets neither.
type acceptor struct {
	net.Listener
	admission *admission

	ctx   context.Context
	leave context.CancelFunc
	// in is what Accept returns.
	in chan accepted
	wg sync.WaitGroup

	mu sync.Mutex
	// waiting is the connections that have yet to shake hands, oldest first.
	waiting []net.Conn
}

type accepted struct {
	conn net.Conn
	err  error
}

func newAcceptor(l net.Listener, g *admission) *acceptor {
	d := &acceptor{Listener: l, admission: g, in: make(chan accepted)}
	d.ctx, d.leave = context.WithCancel(context.Background())
	d.wg.Go(d.listen)
	return d
}

func (d *acceptor) listen() {
	for d.ctx.Err() == nil {
		conn, err := d.Listener.Accept()
		if err != nil {
			// Raft's transport says so, and waits before it accepts again.
			d.hand(accepted{err: err})
			continue
		}
		d.keep(conn)
		d.wg.Go(func() { d.handshake(conn) })
	}
}

// Accept implements net.Listener.
func (d *acceptor) Accept() (net.Conn, error) {
	select {
	case a := <-d.in:
		return a.conn, a.err
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

// hand hands a connection on; it is false where nobody takes it any more.
func (d *acceptor) hand(a accepted) bool {
	select {
	case d.in <- a:
		return true
	case <-d.ctx.Done():
		return false
	}
}

func (d *acceptor) handshake(conn net.Conn) {
	ctx, cancel := context.WithTimeout(d.ctx, handshakeTimeout)
	defer cancel()
	hello, err := readHandshake(conn, handshakeTimeout)
	if err == nil {
		err = d.admission.admit(ctx, hello)
	}
	waited := d.forget(conn)
	if err == nil && waited && d.hand(accepted{conn: newInbound(conn, hello.from, d.admission)}) {
		return
	}
	// Who only looks whether the port is open has not asked for anything.
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errNotOpen) && d.ctx.Err() == nil {
		d.admission.refuse(hostOf(conn), hello.from, err)
	}
	_ = conn.Close() // nobody has it who could be told
}

// keep takes note of a connection that has yet to greet, in the place of the oldest where
// there are many.
func (d *acceptor) keep(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == maxHandshakes {
		_ = d.waiting[0].Close()
		d.waiting = d.waiting[1:]
	}
	d.waiting = append(d.waiting, conn)
}

// forget is called when a connection does not wait any more; it is false where another one
// has taken its place.
func (d *acceptor) forget(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, c := range d.waiting {
		if c == conn {
			d.waiting = append(d.waiting[:i:i], d.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// Close implements net.Listener. It waits until no handshake is under way.
func (d *acceptor) Close() error {
	d.leave()
	err := d.Listener.Close()
	d.mu.Lock()
	for _, c := range d.waiting {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	return err
}
