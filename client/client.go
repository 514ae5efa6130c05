package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// maxServers bounds the servers that a client keeps connections to, those that it
// learned of from hints included. Clusters have at most a handful; addresses come
// and go with replacements.
const maxServers = 64

// ErrClosed is in the chain of every error that a closed client returns.
var ErrClosed = errors.New("the client is closed")

// Config is what a Client needs.
type Config struct {
	// Addrs is the servers, as host:port; at least one. All of them should be named:
	// a client that knows one server only is lost with it. They are those of one cluster: calls fail with
	// task.ErrOtherCluster where they are not. Connections are in plain text, and
	// therefore to loopback addresses only.
	Addrs []string
	// Logger gets what the client does about failures, at debug level; nil: nothing.
	Logger *slog.Logger
	// RequestTimeout bounds each request, with all its attempts; 0: only the context of the call does.
	// It does not bound Wait nor results, nor the time that the payloads of a job take to come.
	RequestTimeout time.Duration
	// Waiting is called where a request, which op names, has had no answer for nearly a second, for programs with
	// somebody before them; from any goroutine. nil: nobody is told.
	Waiting func(op string)
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

	// ctx ends with Close; background counts what ends with it.
	ctx        context.Context
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	servers []*server
	// current is the server that calls go to while no leader is known.
	current int
	// retired is servers that are not named any more. Calls to them may be under way.
	retired []*server

	// terms is what the servers have said of their terms, and when they were asked.
	terms      []uint64
	termsAsked time.Time

	// addrs is the servers that the client was given, and agreed says that they are of one cluster as far as
	// is known: see sameCluster.
	addrs  []string
	agreed atomic.Bool
}

// server is one server and the connection to it, which gRPC makes when it is first used.
type server struct {
	addr string
	// configured: it is one that the client was given.
	configured bool

	conn    *grpc.ClientConn
	jobs    rotav1.JobServiceClient
	cluster rotav1.ClusterServiceClient
	workers rotav1.WorkerServiceClient
	// submits is the stream that all small submits to this server share.
	submits *submitMux
	// silent: it did not answer the last request. It may be paused, or cut off, which
	// a connection does not show for long.
	silent atomic.Bool
}

// New returns a client. It does not wait for a server to answer: calls do, as long
// as their contexts let them.
func New(cfg Config) (*Client, error) {
	if len(cfg.Addrs) == 0 {
		return nil, task.Errorf(task.KindInvalid, "no server address: give at least one host:port")
	}
	if len(cfg.Addrs) > maxServers {
		return nil, task.Errorf(task.KindTooLarge, "%d server addresses, the limit is %d", len(cfg.Addrs), maxServers)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{log: cfg.Logger, requestTimeout: cfg.RequestTimeout, waiting: cfg.Waiting, dialOptions: cfg.DialOptions}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.leader.init()
	c.addrs = slices.Clone(cfg.Addrs)
	for _, addr := range cfg.Addrs {
		err := wire.CheckAddr(addr)
		if err == nil && len(cfg.DialOptions) == 0 {
			err = wire.CheckPlain(addr)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		s, err := c.server(addr)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		s.configured = true
	}
	// Clients with the same list should not all begin with the same server.
	c.current = rand.IntN(len(c.servers))
	c.background.Go(c.watchLeader)
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
	for _, s := range append(c.servers, c.retired...) {
		if err := s.conn.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the connection to %s: %w", s.addr, err))
		}
	}
	c.servers, c.retired = nil, nil
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

// server returns the server at addr, which becomes known by it.
func (c *Client) server(addr string) (*server, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.servers {
		if s.addr == addr {
			return s, nil
		}
	}
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if len(c.servers) >= maxServers {
		return nil, task.Errorf(task.KindTooLarge, "more than %d servers", maxServers)
	}
	conn, err := wire.Dial(addr, c.dialOptions...)
	if err != nil {
		return nil, err
	}
	s := &server{
		addr: addr, conn: conn, jobs: rotav1.NewJobServiceClient(conn),
		cluster: rotav1.NewClusterServiceClient(conn), workers: rotav1.NewWorkerServiceClient(conn),
	}
	s.submits = newSubmitMux(c, s)
	c.servers = append(c.servers, s)
	return s, nil
}

// maxRetired bounds the connections to servers that nobody names any more: what is under way
// there may end.
const maxRetired = 8

// named takes the servers that there are, in the place of those that were named before.
func (c *Client) named(addrs []string) {
	if len(addrs) == 0 {
		return
	}
	c.mu.Lock()
	kept := make([]*server, 0, len(c.servers))
	for _, s := range c.servers {
		if s.configured || slices.Contains(addrs, s.addr) {
			kept = append(kept, s)
		} else {
			c.retired = append(c.retired, s)
		}
	}
	c.servers = kept
	c.current %= max(1, len(kept))
	var over []*server
	if n := len(c.retired) - maxRetired; n > 0 {
		over, c.retired = c.retired[:n:n], c.retired[n:]
	}
	c.mu.Unlock()
	for _, s := range over {
		_ = s.conn.Close() // there is nobody to tell
	}
	for _, addr := range addrs {
		// One that cannot be taken in is one less to turn to.
		_, _ = c.server(addr)
	}
}

// pick returns the server for the next attempt: the leader where one is believed
// in, else one after the other. avoid failed just now and is taken only where
// there is no other; it may be nil. The result is nil once the client is closed.
func (c *Client) pick(avoid *server) *server {
	leader, trusted := c.leader.trusted(time.Now())
	if trusted && (avoid == nil || avoid.addr != leader) {
		if s, err := c.server(leader); err == nil {
			return s
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, allowed := range []func(*server) bool{
		func(s *server) bool { return s != avoid && s.addr != leader && !s.silent.Load() },
		func(s *server) bool { return s != avoid && !s.silent.Load() },
		func(s *server) bool { return s != avoid && s.addr != leader },
		func(s *server) bool { return s != avoid },
		func(*server) bool { return true },
	} {
		// Calls stay with a server until it fails one of them.
		for i := range c.servers {
			n := (c.current + i) % len(c.servers)
			if allowed(c.servers[n]) {
				c.current = n
				return c.servers[n]
			}
		}
	}
	return nil
}

// watchTarget returns a server to watch the leader from: the next one behind
// after, and not the leader unless it is the only one or may be taken.
func (c *Client) watchTarget(after *server, leaderToo bool) *server {
	leader, _ := c.leader.get()
	c.mu.Lock()
	defer c.mu.Unlock()
	start := c.current
	for i, s := range c.servers {
		if s == after {
			start = i
		}
	}
	for i := range c.servers {
		s := c.servers[(start+1+i)%len(c.servers)]
		if leaderToo || s.addr != leader || len(c.servers) == 1 {
			return s
		}
	}
	return nil
}
