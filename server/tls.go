package server

import (
	"context"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/rota-scheduler/rota/internal/loglimit"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire/secure"
)

// The roles that each port lets in. Clients with a token need no certificate. Calls and routes have rules of their own,
// see package access.
var (
	raftAccepts = secure.Accept{Roles: []task.Role{task.RoleServer}}
	grpcAccepts = secure.Accept{Roles: task.Roles(), Anonymous: true}
	httpAccepts = secure.Accept{Roles: task.Roles(), Anonymous: true, Protocols: []string{"h2", "http/1.1"}}
)

// accepting is how connections come through the ports of a server and leave it.
type accepting struct {
	raft, http net.Listener
	// grpc is nil if connections are in plain text.
	grpc credentials.TransportCredentials
	// dialRaft is nil if connections are in plain text.
	dialRaft func(addr string, timeout time.Duration) (net.Conn, error)
}

// accept puts TLS between the ports and those who serve them; without a configuration connections stay in plain text.
func accept(cfg *Config, open listeners, lines *loglimit.Lines) (a accepting, err error) {
	a = accepting{raft: open.peer, http: open.http}
	c := cfg.TLS
	if c == nil {
		return a, nil
	}
	may := func(roles secure.Accept) secure.Accept {
		roles.Plain = cfg.TLSOptional
		return roles
	}
	if a.raft, err = c.Listener(open.peer, may(raftAccepts)); err != nil {
		return a, err
	}
	if a.http, err = c.Listener(open.http, may(httpAccepts)); err != nil {
		return a, err
	}
	a.grpc, err = c.ServerCredentials(may(grpcAccepts), func(from net.Addr, err error) {
		lines.Warn("a connection to the gRPC port was refused", "from", from.String(), "reason", secure.ReasonOf(err), "error", err)
	})
	a.dialRaft = func(addr string, timeout time.Duration) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		dial := func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
		if cfg.TLSOptional {
			return c.DialEither(ctx, dial)
		}
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		conn, err := c.Dial(ctx, raw)
		if err != nil {
			_ = raw.Close() // the handshake says what is wrong
			return nil, err
		}
		return conn, nil
	}
	return a, err
}

// httpErrors logs what net/http says, a bounded number of lines: whoever connects can cause one with each handshake.
type httpErrors struct{ lines *loglimit.Lines }

// Write implements io.Writer.
func (h httpErrors) Write(line []byte) (int, error) {
	h.lines.Warn("the HTTP port had an error", "error", strings.TrimSpace(string(line)))
	return len(line), nil
}

// denials is the calls and HTTP requests that were refused.
func (s *Server) denials() map[access.Counted]int64 {
	if g := s.transport.Guard(); g != nil {
		return g.Denials()
	}
	return nil
}

// certificates says when those of this server expire.
func (s *Server) certificates() []secure.Expiry {
	if s.tls == nil {
		return nil
	}
	return s.tls.Expiries()
}

// certificateEnd says when the certificate of this server expires, also after its files have changed; nil: it has none.
func (c *Config) certificateEnd() func() time.Time {
	if c.TLS == nil {
		return nil
	}
	return func() time.Time {
		self, _ := c.TLS.Self()
		return self.NotAfter
	}
}
