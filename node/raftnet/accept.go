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
	// maxHandshakes bounds the connections that have yet to shake hands. Another one takes the place of the oldest:
	// servers of the cluster shake hands at once, and are let in within a round trip.
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

func newAcceptor(l net.Listener, adm *admission) *acceptor {
	a := &acceptor{Listener: l, admission: adm, in: make(chan accepted)}
	a.ctx, a.leave = context.WithCancel(context.Background())
	a.wg.Go(a.listen)
	return a
}

func (a *acceptor) listen() {
	for a.ctx.Err() == nil {
		conn, err := a.Listener.Accept()
		if err != nil {
			// Raft's transport says so, and waits before it accepts again.
			a.hand(accepted{err: err})
			continue
		}
		a.keep(conn)
		a.wg.Go(func() { a.handshake(conn) })
	}
}

// Accept implements net.Listener.
func (a *acceptor) Accept() (net.Conn, error) {
	select {
	case next := <-a.in:
		return next.conn, next.err
	case <-a.ctx.Done():
		return nil, net.ErrClosed
	}
}

// hand passes a connection on. It is false if nobody takes it any more.
func (a *acceptor) hand(next accepted) bool {
	select {
	case a.in <- next:
		return true
	case <-a.ctx.Done():
		return false
	}
}

func (a *acceptor) handshake(conn net.Conn) {
	ctx, cancel := context.WithTimeout(a.ctx, handshakeTimeout)
	defer cancel()
	hello, err := readHandshake(conn, handshakeTimeout)
	if err == nil {
		err = a.admission.admit(ctx, hello)
	}
	waited := a.forget(conn)
	if err == nil && waited && a.hand(accepted{conn: newInbound(conn, hello.from, a.admission)}) {
		return
	}
	// A peer that only checks whether the port is open has asked for nothing.
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errNotOpen) && a.ctx.Err() == nil {
		a.admission.refuse(hostOf(conn), hello.from, err)
	}
	_ = conn.Close() // nobody else has it, so nobody needs the error
}

// keep notes a connection that has yet to shake hands. If there are too many, it replaces the oldest.
func (a *acceptor) keep(conn net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) == maxHandshakes {
		_ = a.waiting[0].Close()
		a.waiting = a.waiting[1:]
	}
	a.waiting = append(a.waiting, conn)
}

// forget removes a connection that does not wait any more. It is false if another one has replaced it.
func (a *acceptor) forget(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, c := range a.waiting {
		if c == conn {
			a.waiting = append(a.waiting[:i:i], a.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// Close implements net.Listener. It waits until no handshake is under way.
func (a *acceptor) Close() error {
	a.leave()
	err := a.Listener.Close()
	a.mu.Lock()
	for _, c := range a.waiting {
		_ = c.Close()
	}
	a.mu.Unlock()
	a.wg.Wait()
	return err
}
