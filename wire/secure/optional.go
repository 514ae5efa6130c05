package secure

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// handshakeRecord is the first byte of each connection with TLS. Neither HTTP, HTTP/2 nor Raft begins with it.
const handshakeRecord = 0x16

// Listener returns a listener whose connections speak TLS. If plain text is accepted as well, a connection shows with its
// first byte what it speaks.
func (c *Config) Listener(l net.Listener, a Accept) (net.Listener, error) {
	cfg, err := c.Server(a)
	if err != nil {
		return nil, err
	}
	if !a.Plain {
		return tls.NewListener(l, cfg), nil
	}
	return optionalListener{l, cfg}, nil
}

// optionalListener is a port that accepts TLS, and plain text from this machine.
type optionalListener struct {
	net.Listener
	cfg *tls.Config
}

// Accept implements net.Listener. It reads nothing: whoever serves the connection does, with its own limits of time.
func (l optionalListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &optionalConn{Conn: conn, cfg: l.cfg}, nil
}

// optionalConn is a connection of a port that accepts both. The first byte decides.
type optionalConn struct {
	net.Conn // the connection without TLS
	cfg      *tls.Config
	decide   sync.Once
	speaks   net.Conn
	err      error
}

// spoken returns the connection as the other end speaks it. It waits for the first byte.
func (c *optionalConn) spoken() (net.Conn, error) {
	c.decide.Do(func() {
		var first *begunConn
		var encrypted bool
		if first, encrypted, c.err = begin(c.Conn); c.err == nil {
			c.speaks = first
			if encrypted {
				c.speaks = tls.Server(first, c.cfg)
			}
		}
	})
	return c.speaks, c.err
}

// Read implements net.Conn.
func (c *optionalConn) Read(b []byte) (int, error) {
	conn, err := c.spoken()
	if err != nil {
		return 0, err
	}
	return conn.Read(b)
}

// Write implements net.Conn.
func (c *optionalConn) Write(b []byte) (int, error) {
	conn, err := c.spoken()
	if err != nil {
		return 0, err
	}
	return conn.Write(b)
}

// begunConn is a connection whose first byte has been looked at.
type begunConn struct {
	net.Conn
	from *bufio.Reader
}

// Read implements net.Conn.
func (c *begunConn) Read(b []byte) (int, error) { return c.from.Read(b) }

// begin looks at the first byte of a connection. Plain text from another machine is an error.
func begin(conn net.Conn) (_ *begunConn, encrypted bool, err error) {
	c := &begunConn{conn, bufio.NewReaderSize(conn, 16)}
	first, err := c.from.Peek(1)
	if err != nil {
		return nil, false, err
	}
	if first[0] == handshakeRecord {
		return c, true, nil
	}
	if !fromHere(conn) {
		return nil, false, refuse(ReasonPlainText, nil, "the other end does not speak TLS, and plain text is accepted from this machine only")
	}
	return c, false, nil
}

// fromHere says whether the other end of a connection is on this machine.
func fromHere(conn net.Conn) bool {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

// handshake does the handshake of a gRPC connection.
func (s serverCredentials) handshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if !s.plain {
		return s.TransportCredentials.ServerHandshake(raw)
	}
	conn, encrypted, err := begin(raw)
	switch {
	case err != nil:
		return nil, nil, err
	case encrypted:
		return s.TransportCredentials.ServerHandshake(conn)
	}
	return insecure.NewCredentials().ServerHandshake(conn)
}

// IsPlain says whether a gRPC call came over a connection in plain text.
func IsPlain(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	auth := p.AuthInfo
	for auth != nil {
		if auth.AuthType() == insecure.NewCredentials().Info().SecurityProtocol {
			return true
		}
		within, ok := auth.(interface{ Unwrap() credentials.AuthInfo })
		if !ok {
			return false
		}
		auth = within.Unwrap()
	}
	return false
}

// DialEither connects with TLS, or in plain text if the other end does not speak TLS: then plain connects once more. It is
// for a cluster that changes to TLS; plain must stay on this machine, because nobody knows who is at the other end.
func (c *Config) DialEither(ctx context.Context, plain func(ctx context.Context) (net.Conn, error), protocols ...string) (net.Conn, error) {
	raw, err := plain(ctx)
	if err != nil {
		return nil, err
	}
	half, stop := context.WithTimeout(ctx, tlsPatience)
	defer stop()
	conn, err := c.Dial(half, raw, protocols...)
	if err == nil {
		return conn, nil
	}
	_ = raw.Close() // the handshake says what is wrong
	if !speaksPlain(err) {
		return nil, err
	}
	return plain(ctx)
}

// tlsPatience is how long a server that may not speak TLS has for its part of a handshake. It is on this machine.
const tlsPatience = time.Second

// speaksPlain says whether a handshake failed as it does with a server without TLS: it closes the connection, waits for more
// or sends something else. A server that does speak TLS says what is wrong with a certificate.
func speaksPlain(err error) bool {
	return ReasonOf(err) == ReasonPlainText || ReasonOf(err) == ReasonOther
}
