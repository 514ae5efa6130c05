package secure

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// refusals counts handshakes that failed.
type refusals struct {
	mu     sync.Mutex
	counts map[Reason]int64
}

func (r *refusals) add(reason Reason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts == nil {
		r.counts = map[Reason]int64{}
	}
	r.counts[reason]++
}

// Refusals counts the handshakes of ports that failed, by reason: of those that Handshake and ServerCredentials did.
func (c *Config) Refusals() map[Reason]int64 {
	c.refused.mu.Lock()
	defer c.refused.mu.Unlock()
	return maps.Clone(c.refused.counts)
}

// Handshake does the handshake of a connection that a port has accepted. Its error is an *Error.
func (c *Config) Handshake(ctx context.Context, conn *tls.Conn) error {
	err := Explain(conn.HandshakeContext(ctx), c.now())
	if err != nil {
		c.refused.add(ReasonOf(err))
	}
	return err
}

// Dial does the handshake of a connection to a server. Its error is an *Error. With TLS 1.3 it may succeed although the
// server refuses the certificate of this process: then the first read fails, and Explain says why.
func (c *Config) Dial(ctx context.Context, raw net.Conn, protocols ...string) (*tls.Conn, error) {
	conn := tls.Client(raw, c.Client(protocols...))
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, Explain(err, c.now())
	}
	return conn, nil
}

// ServerCredentials are those of a gRPC port. told, if not nil, hears why a connection was refused.
func (c *Config) ServerCredentials(a Accept, told func(from net.Addr, err error)) (credentials.TransportCredentials, error) {
	cfg, err := c.Server(a)
	if err != nil {
		return nil, err
	}
	return serverCredentials{credentials.NewTLS(cfg), c, a.Plain, told}, nil
}

// ClientCredentials are those of a gRPC connection to a server.
func (c *Config) ClientCredentials() credentials.TransportCredentials {
	return clientCredentials{credentials.NewTLS(c.Client()), c}
}

type serverCredentials struct {
	credentials.TransportCredentials
	config *Config
	// plain: plain text is accepted as well.
	plain bool
	told  func(from net.Addr, err error)
}

// info is what gRPC keeps of a connection.
type info struct {
	credentials.TLSInfo
	peer  Peer
	known bool
}

// ServerHandshake implements credentials.TransportCredentials.
func (s serverCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, auth, err := s.handshake(raw)
	if err != nil {
		err = Explain(err, s.config.now())
		s.config.refused.add(ReasonOf(err))
		if s.told != nil {
			s.told(raw.RemoteAddr(), err)
		}
		return nil, nil, err
	}
	encrypted, ok := auth.(credentials.TLSInfo)
	if !ok {
		return conn, auth, nil
	}
	i := info{TLSInfo: encrypted}
	i.peer, i.known = PeerOf(&i.State)
	return conn, i, nil
}

// Clone implements credentials.TransportCredentials.
func (s serverCredentials) Clone() credentials.TransportCredentials {
	return serverCredentials{s.TransportCredentials.Clone(), s.config, s.plain, s.told}
}

type clientCredentials struct {
	credentials.TransportCredentials
	config *Config
}

// ClientHandshake implements credentials.TransportCredentials.
func (s clientCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, auth, err := s.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, Explain(err, s.config.now())
	}
	return conn, auth, nil
}

// Clone implements credentials.TransportCredentials.
func (s clientCredentials) Clone() credentials.TransportCredentials {
	return clientCredentials{s.TransportCredentials.Clone(), s.config}
}

// FromContext returns who has made a gRPC call, by certificate; false: whoever it is has shown none.
func FromContext(ctx context.Context) (Peer, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Peer{}, false
	}
	auth := p.AuthInfo
	for {
		switch a := auth.(type) {
		case info:
			return a.peer, a.known
		case interface{ Unwrap() credentials.AuthInfo }:
			auth = a.Unwrap()
		default:
			return Peer{}, false
		}
	}
}
