package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/leader"
)

// ErrClosed is in the chain of every error that a closed client returns.
var ErrClosed = errors.New("the client is closed")

// Config is what a Client needs.
type Config struct {
	// Addrs is the servers, as host:port; at least one. Name all of them: a client that
	// knows only one server is lost with it. A name with several addresses stands for several servers, and so does the
	// name of a service (_rota._tcp.example.com, by its SRV records). They must belong to one cluster; otherwise calls fail
	// with task.ErrOtherCluster. Without TLS in DialOptions, connections are in plain text, and
	// to loopback addresses only.
	Addrs []string
	// Logger gets what the client does about failures, at debug level; nil: no log.
	Logger *slog.Logger
	// RequestTimeout bounds each request, with all its attempts; 0: only the context of the call does.
	// It bounds neither Wait nor results, nor the time until the payloads of a job have arrived.
	RequestTimeout time.Duration
	// Waiting is called, from any goroutine, when a request has had no answer for nearly a second, so
	// that programs can tell their users. op names the request. nil: it is not called.
	Waiting func(op string)
	// Resolver looks up names in Addrs, such as net.DefaultResolver, which is the default if there are no DialOptions.
	// Without one, a name is one server.
	Resolver wire.Resolver
	// DialOptions come after those that the client sets, for tests in memory.
	DialOptions []grpc.DialOption
}

// Client talks to a cluster. It is safe for use by many goroutines, and one is
// enough for a program.
type Client struct {
	log            *slog.Logger
	requestTimeout time.Duration
	waiting        func(op string)
	dialOptions    []grpc.DialOption
	leader         leaderCache
	finder         *leader.Finder

	// ctx ends with Close; background counts what ends with it.
	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu     sync.Mutex
	closed bool
	// servers is those that were turned to, oldest first.
	servers []*server
	// current is the server that calls go to while no leader is known.
	current string
}

// server is one server and the connection to it, which gRPC makes when it is first used.
type server struct {
	addr string

	conn    *grpc.ClientConn
	jobs    rotav1.JobServiceClient
	cluster rotav1.ClusterServiceClient
	workers rotav1.WorkerServiceClient
	access  rotav1.AccessServiceClient
	events  rotav1.EventServiceClient
	// submits is the stream that all small submits to this server share.
	submits *submitStream
	// silent: it did not answer the last request. It may be paused or cut off, and a connection
	// does not show that for a long time.
	silent atomic.Bool
}

// New returns a client. It does not wait for a server to answer: calls do, as long
// as their contexts let them.
func New(cfg Config) (*Client, error) {
	if len(cfg.Addrs) == 0 {
		return nil, task.Errorf(task.KindInvalid, "no server address: give at least one host:port")
	}
	if len(cfg.Addrs) > leader.MaxServers {
		return nil, task.Errorf(task.KindTooLarge, "%d server addresses, the limit is %d", len(cfg.Addrs), leader.MaxServers)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{log: cfg.Logger, requestTimeout: cfg.RequestTimeout, waiting: cfg.Waiting, dialOptions: cfg.DialOptions}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if cfg.Resolver == nil && len(cfg.DialOptions) == 0 {
		cfg.Resolver = net.DefaultResolver
	}
	c.finder = leader.New(leader.Config{
		Addrs: slices.Clone(cfg.Addrs), Lookup: wire.LookupBy(cfg.Resolver), Connect: c.source, Heard: c.heard, WatchLeader: true, Logger: cfg.Logger,
	}, &c.leader)
	c.leader.init(cfg.Logger, c.finder.Moved)
	for _, addr := range cfg.Addrs {
		err := wire.CheckServer(addr)
		if err == nil && len(cfg.DialOptions) == 0 {
			err = wire.CheckPlain(addr)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		if _, err := c.server(addr); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	c.background.Go(func() { c.finder.Watch(c.ctx) })
	return c, nil
}

// Close ends the client: calls under way fail with ErrClosed.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.background.Wait()
	c.leader.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, s := range c.servers {
		if err := s.conn.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the connection to %s: %w", s.addr, err))
		}
	}
	c.servers = nil
	return errors.Join(errs...)
}

// goBackground runs f, which must end with c.ctx, unless the client is closed.
func (c *Client) goBackground(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.background.Go(f)
	}
	return !c.closed
}

// maxRetired bounds the connections to servers that nobody names any more: what is under way
// there may end.
const maxRetired = 8

// server returns the server at addr.
func (c *Client) server(addr string) (*server, error) {
	c.mu.Lock()
	s, over, err := c.serverLocked(addr)
	c.mu.Unlock()
	for _, s := range over {
		_ = s.conn.Close() // there is nobody to tell
	}
	return s, err
}

// serverLocked is server with the lock held. over is servers whose connections are to be closed.
func (c *Client) serverLocked(addr string) (s *server, over []*server, err error) {
	for _, s := range c.servers {
		if s.addr == addr {
			return s, nil, nil
		}
	}
	if c.ctx.Err() != nil {
		return nil, nil, ErrClosed
	}
	conn, err := wire.Dial(addr, c.dialOptions...)
	if err != nil {
		return nil, nil, err
	}
	s = &server{
		addr: addr, conn: conn, jobs: rotav1.NewJobServiceClient(conn),
		cluster: rotav1.NewClusterServiceClient(conn), workers: rotav1.NewWorkerServiceClient(conn), access: rotav1.NewAccessServiceClient(conn),
		events: rotav1.NewEventServiceClient(conn),
	}
	s.submits = newSubmitStream(c, s)
	c.servers = append(c.servers, s)
	known := c.finder.Known()
	retired := 0
	for _, s := range c.servers {
		if !slices.Contains(known, s.addr) {
			retired++
		}
	}
	c.servers = slices.DeleteFunc(c.servers, func(s *server) bool {
		if retired <= maxRetired || slices.Contains(known, s.addr) {
			return false
		}
		retired--
		over = append(over, s)
		return true
	})
	return s, over, nil
}

// source connects to a server to ask it about its cluster, by the connection that there is.
func (c *Client) source(addr string) (leader.Source, error) {
	s, err := c.server(addr)
	if err != nil {
		return leader.Source{}, err
	}
	return leader.Source{Client: s.cluster}, nil
}

// heard notes that a server is alive.
func (c *Client) heard(addr string) {
	if s, err := c.server(addr); err == nil {
		s.silent.Store(false)
	}
}

// pick returns the server for the next attempt: the believed leader if there is one, else one
// server after the other. avoid has just failed and is used only if there is no other; it may be
// nil. The result is nil once the client is closed.
func (c *Client) pick(avoid *server) *server {
	leads, trusted := c.leader.trusted(time.Now())
	if trusted && (avoid == nil || avoid.addr != leads) {
		if s, err := c.server(leads); err == nil {
			return s
		}
	}
	var servers []*server
	for _, addr := range c.finder.Known() {
		// One that cannot be taken in is one less to turn to.
		if s, err := c.server(addr); err == nil {
			servers = append(servers, s)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := max(0, slices.IndexFunc(servers, func(s *server) bool { return s.addr == c.current }))
	for _, allowed := range []func(*server) bool{
		func(s *server) bool { return s != avoid && s.addr != leads && !s.silent.Load() },
		func(s *server) bool { return s != avoid && !s.silent.Load() },
		func(s *server) bool { return s != avoid && s.addr != leads },
		func(s *server) bool { return s != avoid },
		func(*server) bool { return true },
	} {
		// Calls stay with a server until it fails one of them.
		for i := range servers {
			if s := servers[(first+i)%len(servers)]; allowed(s) {
				c.current = s.addr
				return s
			}
		}
	}
	return nil
}
