package raftnet

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer is raft's TCP, behind the acceptor. It knows every connection, to close all of them at its end: raft's
// transport leaves connections that others have opened to the others, and would still answer on them.
type streamLayer struct {
	net.Listener
	admission *admission
	advertise string
	connect   func(addr string, timeout time.Duration) (net.Conn, error)

	mu     sync.Mutex
	closed bool
	conns  map[*streamConn]struct{}
}

func newStreamLayer(cfg Config, adm *admission) *streamLayer {
	s := &streamLayer{
		Listener: newAcceptor(cfg.Listener, adm), admission: adm, advertise: cfg.Addr, connect: cfg.Dial, conns: map[*streamConn]struct{}{},
	}
	if s.connect == nil {
		s.connect = func(addr string, timeout time.Duration) (net.Conn, error) {
			return net.DialTimeout("tcp", addr, timeout)
		}
	}
	return s
}

// streamConn is a connection that its layer knows until it is closed.
type streamConn struct {
	net.Conn
	layer *streamLayer
}

func (c *streamConn) Close() error {
	c.layer.mu.Lock()
	delete(c.layer.conns, c)
	c.layer.mu.Unlock()
	return c.Conn.Close()
}

// keep takes note of a connection, and refuses it if the layer is closed.
func (s *streamLayer) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	c := &streamConn{conn, s}
	s.conns[c] = struct{}{}
	return c, nil
}

// Accept implements net.Listener.
func (s *streamLayer) Accept() (net.Conn, error) { return s.keep(s.Listener.Accept()) }

// Dial implements raft.StreamLayer.
func (s *streamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.keep(s.dial(addr, timeout))
}

// dial connects to a server and sends the handshake.
func (s *streamLayer) dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	target, id := splitIdentity(addr)
	conn, err := s.connect(target, timeout)
	if err != nil {
		return nil, err
	}
	hello := handshake{meant: id, from: s.admission.self, cluster: s.admission.cluster()}
	if err := hello.write(conn, timeout); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return newOutbound(conn, id, s.admission), nil
}

// Addr implements net.Listener: the address that the other servers know.
func (s *streamLayer) Addr() net.Addr { return advertised(s.advertise) }

// Close implements net.Listener. It ends every connection.
func (s *streamLayer) Close() error {
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = map[*streamConn]struct{}{}
	s.mu.Unlock()
	err := s.Listener.Close()
	for c := range conns {
		// Its reader hears of it; that it may be closed already is no error here.
		_ = c.Conn.Close()
	}
	return err
}

// advertised is the address that the other servers know.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }
