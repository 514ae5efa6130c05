package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// Config is what a cluster is made of.
type Config struct {
	Servers int
	// Dir is where the servers have their data folders.
	Dir  string
	Seed uint64
	// Edit changes the configuration of each server before each start; it may be nil.
	Edit   func(*node.Config)
	Logger *slog.Logger
}

// Cluster is servers and the network between them. All of it lives in one bubble.
type Cluster struct {
	Net     *Network
	Servers []*Server

	cfg Config
	// calls counts requests under way at servers.
	calls sync.WaitGroup

	mu    sync.Mutex
	fatal []error
}

// Server is one server, over all its lives.
type Server struct {
	Name   string
	Stores *Stores
	// Addr is where the network has it; it may change while the server does not run.
	Addr string

	cluster *Cluster
	dir     string
	// lost is the stores of the disks that it had before this one.
	lost []*Stores

	mu sync.Mutex
	// knows is the version of the log that the server's build knows, and installed is when it came.
	knows     uint32
	installed time.Time
	node      *node.Node
	// ended is closed at the end of the current life.
	ended chan struct{}
}

// New returns a cluster whose servers are not started yet.
func New(cfg Config) *Cluster {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{Net: newNetwork(rand.New(rand.NewPCG(cfg.Seed, 1))), cfg: cfg}
	for i := range cfg.Servers {
		name := fmt.Sprintf("n%d", i+1)
		c.Servers = append(c.Servers, &Server{Name: name, Addr: name, Stores: NewStores(), cluster: c, dir: filepath.Join(cfg.Dir, name), knows: fsm.Version})
	}
	return c
}

// Names is the names of all servers, by which the network knows them.
func (c *Cluster) Names() []string {
	var out []string
	for _, s := range c.Servers {
		out = append(out, s.Name)
	}
	return out
}

// addrs is the addresses of all servers.
func (c *Cluster) addrs() []string {
	var out []string
	for _, s := range c.Servers {
		out = append(out, s.Addr)
	}
	return out
}

// StartAll starts all servers.
func (c *Cluster) StartAll() error {
	var errs []error
	for _, s := range c.Servers {
		errs = append(errs, s.Start())
	}
	return errors.Join(errs...)
}

// Start begins another life of the server.
func (s *Server) Start() error {
	c := s.cluster
	t := newTransport(c.Net, s.Addr)
	knows, _ := s.Build()
	cfg := node.Config{
		NodeID: s.Name, DataDir: s.dir, Addr: s.Addr, PeerAddr: s.Addr,
		BootstrapExpect: len(c.Servers), Join: c.addrs(),
		Peers: &peers{c, s.Addr}, RaftTransport: t, Stores: s.Stores,
		Logger: c.cfg.Logger.With("server", s.Name), Version: "sim", Knows: knows,
		Fatal: func(err error) { c.noteFatal(fmt.Errorf("server %s: %w", s.Name, err)) },
	}
	if c.cfg.Edit != nil {
		c.cfg.Edit(&cfg)
	}
	n, err := node.Start(cfg)
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", s.Name, err), t.Close())
	}
	t.serve(n.Self().RaftID())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node, s.ended = n, make(chan struct{})
	return nil
}

// Install makes another build that which the server is started with from now on: one that knows this version
// of the log.
func (s *Server) Install(knows uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.knows, s.installed = knows, time.Now()
}

// Build returns the version of the log that the server's build knows, and since when it has been that one.
func (s *Server) Build() (knows uint32, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knows, s.installed
}

// Wipe takes the disk from a server that does not run: it comes back as another one.
func (s *Server) Wipe() {
	s.lost = append(s.lost, s.Stores)
	s.Stores = NewStores()
	s.dir = fmt.Sprintf("%s-%d", filepath.Join(s.cluster.cfg.Dir, s.Name), len(s.lost))
}

// Disks is all that the server ever had.
func (s *Server) Disks() []*Stores { return append(slices.Clone(s.lost), s.Stores) }

// Node is the running server, or nil.
func (s *Server) Node() *node.Node {
	n, _ := s.current()
	return n
}

func (s *Server) current() (n *node.Node, ended <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node, s.ended
}

// end takes the server out of service: from now on nobody reaches it.
func (s *Server) end() *node.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node
	if n != nil {
		close(s.ended)
	}
	s.node = nil
	return n
}

// Crash ends the server like kill -9. What it had on its disk stays. Not one message of
// it gets out any more: what it was about to commit is not committed.
func (s *Server) Crash() error {
	n := s.end()
	if n == nil {
		return nil
	}
	if t := s.cluster.Net.transportAt(s.Addr); t != nil {
		_ = t.Close()
	}
	return n.Kill()
}

// Stop ends the server in good order.
func (s *Server) Stop(ctx context.Context) error {
	n := s.end()
	if n == nil {
		return nil
	}
	return n.Shutdown(ctx)
}

// Close ends all servers and waits for all requests under way.
func (c *Cluster) Close() error {
	errs := make([]error, len(c.Servers))
	var wg sync.WaitGroup
	for i, s := range c.Servers {
		wg.Go(func() { errs[i] = s.Crash() })
	}
	wg.Wait()
	c.calls.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) noteFatal(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fatal = append(c.fatal, err)
}

// Fatal returns why servers said that they must stop.
func (c *Cluster) Fatal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.fatal...)
}

// Leader returns the server that leads and serves in the highest term, or nil. Others may
// not know yet that they are deposed.
func (c *Cluster) Leader() (leader *Server) {
	highest := uint64(0)
	for _, s := range c.Servers {
		if n := s.Node(); n != nil {
			if term, ok := n.Ready(); ok && term > highest {
				leader, highest = s, term
			}
		}
	}
	return leader
}

// WaitLeader waits for a leader.
func (c *Cluster) WaitLeader(ctx context.Context) (*Server, error) {
	for {
		if s := c.Leader(); s != nil {
			return s, nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// server returns the server at an address; nil: there is none.
func (c *Cluster) server(addr string) *Server {
	for _, s := range c.Servers {
		if s.Addr == addr {
			return s
		}
	}
	return nil
}

// Call runs f on a server like a request that came over the network. It ends with the
// timeout, or when the server does; f may take effect all the same, later even.
func Call[T any](c *Cluster, from string, s *Server, timeout time.Duration, f func(ctx context.Context, n *node.Node) (T, error)) (T, error) {
	var none T
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	if c.Net.carry(ctx, from, s.Addr) != nil {
		defer cancel()
		<-ctx.Done()
		return none, unknown("the request or its answer was lost")
	}
	n, ended := s.current()
	if n == nil {
		defer cancel()
		return none, task.Errorf(task.KindUnavailable, "connection refused")
	}
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	c.calls.Go(func() {
		defer cancel()
		v, err := f(ctx, n)
		done <- answer{v, err}
	})
	var got answer
	select {
	case got = <-done:
	case <-ctx.Done():
		// It ends with f as well.
		select {
		case got = <-done:
		default:
			return none, unknown("no answer in time")
		}
	case <-ended:
		return none, unknown("connection reset")
	}
	back, stop := context.WithTimeout(context.Background(), timeout)
	defer stop()
	if c.Net.carry(back, s.Addr, from) != nil {
		<-back.Done()
		return none, unknown("the request or its answer was lost")
	}
	select {
	case <-ended:
		// The last answers of a server that ends may not get out.
		return none, unknown("connection reset")
	default:
		return got.v, got.err
	}
}

func unknown(msg string) error { return task.Errorf(task.KindUnknownOutcome, "%s", msg) }

// peers is node.Peers: servers ask each other over the network.
type peers struct {
	c    *Cluster
	from string
}

// Identify implements node.Peers.
func (p *peers) Identify(ctx context.Context, addr string) (node.PeerInfo, error) {
	return callPeer(ctx, p, addr, func(_ context.Context, n *node.Node) (node.PeerInfo, error) { return n.Self(), nil })
}

// Probe implements node.Peers.
func (p *peers) Probe(ctx context.Context, addr string) (node.PeerInfo, error) {
	return p.Identify(ctx, addr)
}

// Join implements node.Peers.
func (p *peers) Join(ctx context.Context, addr string, self node.PeerInfo) error {
	_, err := callPeer(ctx, p, addr, func(ctx context.Context, n *node.Node) (bool, error) { return n.AddServer(ctx, self) })
	return err
}

// Meet implements node.Peers.
func (p *peers) Meet(ctx context.Context, addr string, m node.Meeting) (node.Met, error) {
	return callPeer(ctx, p, addr, func(ctx context.Context, n *node.Node) (node.Met, error) { return n.Meet(ctx, m) })
}

func callPeer[T any](ctx context.Context, p *peers, addr string, f func(context.Context, *node.Node) (T, error)) (T, error) {
	s := p.c.server(addr)
	if s == nil {
		var none T
		return none, task.Errorf(task.KindUnavailable, "no such host %s", addr)
	}
	timeout := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	return Call(p.c, p.from, s, timeout, f)
}
