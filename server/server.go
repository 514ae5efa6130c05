package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/internal/loglimit"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/web"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

const (
	// httpTimeout bounds a request and its answer, httpHeaderTimeout the time until its headers have arrived, and
	// httpIdleTimeout how long a connection may wait for the next request.
	httpTimeout       = 30 * time.Second
	httpHeaderTimeout = 5 * time.Second
	httpIdleTimeout   = 60 * time.Second
	// httpHeaderBytes bounds the headers of a request.
	httpHeaderBytes = 8 << 10
)

// Config configures a server.
type Config struct {
	// Node configures its node. The addresses in there are those that others use: see Advertised. The server fills in
	// Peers, Lookup and RaftListener.
	Node node.Config
	// Listen is what the server listens on. An empty address: that which others use.
	Listen Addrs
	// TLS secures all ports and all connections to other servers; nil: they are in plain text. Its files are watched while the server runs.
	TLS *secure.Config
	// TLSOptional accepts plain text from this machine as well, and speaks it to servers that do not speak TLS: for a cluster
	// on one machine that changes to TLS server by server.
	TLSOptional bool
	// Insecure says that connections in plain text leave this machine, which the log repeats every hour.
	Insecure bool
	// Profiles serves profiles of this process below /debug/pprof/ on the HTTP port. They tell more about the machine than
	// readers of the metrics should know.
	Profiles bool
}

// listen is what to listen on.
func (c *Config) listen() Addrs {
	return Addrs{
		GRPC: cmp.Or(c.Listen.GRPC, c.Node.Addr), Raft: cmp.Or(c.Listen.Raft, c.Node.PeerAddr), HTTP: cmp.Or(c.Listen.HTTP, c.Node.HTTPAddr),
	}
}

// Server is a running server. Stop or Kill ends it.
type Server struct {
	log       *slog.Logger
	node      *node.Node
	peers     *transport.Peers
	transport *transport.Server
	grpc      *grpc.Server
	web       *web.Server
	http      *http.Server
	ports     listeners
	// tls is nil if connections are in plain text. httpPort is the HTTP port, with TLS if there is any. lines is the log of
	// refused connections.
	tls      *secure.Config
	httpPort net.Listener
	lines    *loglimit.Lines
	// reminder is what the log repeats of plain text; "": nothing.
	reminder string
	// failed gets an error if a port ends although nobody asked for it.
	failed chan error
	// grpcServed is closed when the gRPC port is not served any more. running is the goroutines that serve the HTTP port and
	// log turned away connections, the latter until stopTelling.
	grpcServed  chan struct{}
	running     sync.WaitGroup
	stopTelling context.CancelFunc
}

// Start opens the ports of a server, then its data folder, and serves.
func Start(cfg Config) (*Server, error) { return start(cfg) }

// start is Start with further options of the gRPC server.
func start(cfg Config, opts ...grpc.ServerOption) (*Server, error) {
	open, err := openPorts(cfg.listen())
	if err != nil {
		return nil, err
	}
	log, version := cfg.Node.Logger, cfg.Node.Version
	lines := loglimit.New(log)
	in, err := accept(&cfg, open, lines)
	if err != nil {
		open.close()
		return nil, err
	}
	peers := transport.NewPeers(cfg.dialOptions()...)
	cfg.Node.Lookup = wire.LookupBy(net.DefaultResolver)
	cfg.Node.Peers, cfg.Node.RaftListener, cfg.Node.RaftDial = peers, in.raft, in.dialRaft
	cfg.Node.CertificateEnd = cfg.certificateEnd()
	n, err := node.Start(cfg.Node)
	if err != nil {
		open.close()
		lines.Close()
		return nil, errors.Join(err, peers.Close())
	}
	s := &Server{
		tls: cfg.TLS, reminder: cfg.reminder(), httpPort: in.http, lines: lines,
		log: log, node: n, peers: peers, ports: open, failed: make(chan error, 2), grpcServed: make(chan struct{}),
		transport: transport.New(transport.Config{Node: n, Peers: peers, Logger: log, Version: version, Credentials: in.grpc, Plain: cfg.TLSOptional}),
	}
	s.grpc = grpc.NewServer(slices.Concat(s.transport.Options(), []grpc.ServerOption{grpc.WaitForHandlers(true)}, opts)...)
	if err := s.transport.Register(s.grpc); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	s.web = web.New(web.Config{
		Node: n, Logger: log, Version: version, Requests: s.transport.Measure, Turned: open.turned, TooLarge: open.grpc.TooLarge, Profiles: cfg.Profiles, Guard: s.transport.Guard(),
		Denials: s.denials, Certificates: s.certificates,
	})
	s.http = &http.Server{
		Handler: s.web, ReadHeaderTimeout: httpHeaderTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout,
		IdleTimeout: httpIdleTimeout, MaxHeaderBytes: httpHeaderBytes,
		ErrorLog: stdlog.New(httpErrors{lines}, "", 0),
	}
	s.serve()
	return s, nil
}

func (s *Server) serve() {
	go func() {
		defer close(s.grpcServed)
		if err := s.grpc.Serve(s.ports.grpc); err != nil {
			s.failed <- fmt.Errorf("serve gRPC: %w", err)
		}
	}()
	s.running.Go(func() {
		if err := s.http.Serve(s.httpPort); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve HTTP: %w", err)
		}
	})
	var telling context.Context
	telling, s.stopTelling = context.WithCancel(context.Background())
	if s.tls != nil {
		s.running.Go(func() { s.tls.Run(telling) })
	}
	if s.reminder != "" {
		s.running.Go(func() { remind(telling, s.log, s.reminder) })
	}
	s.running.Go(func() { newTurnedAway(s.log, s.ports.turned).run(telling) })
}

// Node is the server's node.
func (s *Server) Node() *node.Node { return s.node }

// Removed is closed when the server was removed from its cluster. Stop it then.
func (s *Server) Removed() <-chan struct{} { return s.node.Removed() }

// Failed gets an error if a port ends although nobody asked for it. Stop the server then.
func (s *Server) Failed() <-chan error { return s.failed }
