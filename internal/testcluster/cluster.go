package testcluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/server"
	"github.com/rota-scheduler/rota/worker"
)

// Wait is how long a condition may take to come true in a test.
const Wait = 30 * time.Second

// Server is one server of a Cluster.
type Server struct {
	Config node.Config
	// Node is its node; nil while it is not running.
	Node       *node.Node
	running    *server.Server
	Addr       string
	raft, http string
}

// Cluster is servers in this process.
type Cluster struct {
	t       testing.TB
	Servers []*Server
	edit    func(*node.Config)
}

// Start starts n servers and waits for a leader that is ready. edit, which may be nil,
// changes each server's configuration before it starts.
func Start(t testing.TB, n int, edit func(*node.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, edit: edit}
	dir := t.TempDir()
	for i := range n {
		c.Servers = append(c.Servers, &Server{
			Addr: freeAddr(t), raft: freeAddr(t), http: freeAddr(t),
			Config: node.Config{NodeID: fmt.Sprintf("n%d", i+1), DataDir: filepath.Join(dir, fmt.Sprintf("n%d", i+1)), BootstrapExpect: n},
		})
	}
	t.Cleanup(c.stopAll)
	for i := range c.Servers {
		c.Restart(i)
	}
	c.Leader()
	return c
}

// freeAddr returns a loopback address that nobody else is given.
func freeAddr(t testing.TB) string {
	t.Helper()
	port, err := ports.Take(1)
	require.NoError(t, err)
	t.Cleanup(func() { ports.Release(port) })
	return ports.Loopback(port)
}

// Addrs is the gRPC addresses of all servers.
func (c *Cluster) Addrs() []string {
	var out []string
	for _, s := range c.Servers {
		out = append(out, s.Addr)
	}
	return out
}

// Logger is where servers and workers of tests log: nowhere, unless ROTA_TEST_LOG is set.
func Logger(who string) *slog.Logger {
	if os.Getenv("ROTA_TEST_LOG") == "" {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("who", who)
}

// Restart starts server i, which is not running.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	require.NoError(c.t, c.TryRestart(i))
}

// TryRestart is Restart for tests that expect the start to fail.
func (c *Cluster) TryRestart(i int) error {
	s := c.Servers[i]
	cfg := s.Config
	cfg.Addr, cfg.PeerAddr, cfg.HTTPAddr, cfg.Join = s.Addr, s.raft, s.http, c.Addrs()
	cfg.Logger, cfg.Version = Logger(cfg.NodeID), "test"
	cfg.Fatal = func(err error) { c.t.Errorf("server %s must stop: %v", cfg.NodeID, err) }
	if c.edit != nil {
		c.edit(&cfg)
	}
	running, err := server.Start(server.Config{Node: cfg, Listen: server.Addrs{GRPC: s.Addr, Raft: s.raft, HTTP: s.http}})
	if err != nil {
		return err
	}
	s.running, s.Node = running, running.Node()
	return nil
}

// Kill ends server i as a crash would.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	s := c.Servers[i]
	require.NoError(c.t, s.running.Kill())
	s.Node = nil
}

// Move gives server i, which is not running, other addresses for its next start.
func (c *Cluster) Move(i int) {
	c.t.Helper()
	c.Servers[i].Addr, c.Servers[i].raft = freeAddr(c.t), freeAddr(c.t)
}

// Exchange gives each of some servers, none of which is running, the addresses of the next one.
func (c *Cluster) Exchange(which ...int) {
	addr, raft, http := c.Servers[which[0]].Addr, c.Servers[which[0]].raft, c.Servers[which[0]].http
	for k, i := range which[1:] {
		s, next := c.Servers[which[k]], c.Servers[i]
		s.Addr, s.raft, s.http = next.Addr, next.raft, next.http
	}
	last := c.Servers[which[len(which)-1]]
	last.Addr, last.raft, last.http = addr, raft, http
}

// MoveGRPC is Move of the gRPC address alone.
func (c *Cluster) MoveGRPC(i int) {
	c.t.Helper()
	c.Servers[i].Addr = freeAddr(c.t)
}

// Wipe takes the data from server i, which is not running: its next start is that of a new
// server.
func (c *Cluster) Wipe(i int) {
	c.t.Helper()
	require.NoError(c.t, os.RemoveAll(c.Servers[i].Config.DataDir))
}

// PeerAddr is the Raft address of server i.
func (c *Cluster) PeerAddr(i int) string { return c.Servers[i].raft }

// Stop ends server i in good order, as the command does.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	s := c.Servers[i]
	require.NoError(c.t, s.running.Stop(context.Background()))
	s.Node = nil
}

func (c *Cluster) stopAll() {
	var wg sync.WaitGroup
	for i, s := range c.Servers {
		if s.Node != nil {
			wg.Go(func() { c.Kill(i) })
		}
	}
	wg.Wait()
}

// Leader waits for a leader that is ready, and returns its place.
func (c *Cluster) Leader() int {
	c.t.Helper()
	leader := -1
	c.Eventually(func() bool {
		for i, s := range c.Servers {
			if s.Node == nil {
				continue
			}
			if _, ok := s.Node.Ready(); ok {
				leader = i
				return true
			}
		}
		return false
	}, "a leader")
	return leader
}

// Eventually waits for a condition.
func (c *Cluster) Eventually(cond func() bool, what string) {
	c.t.Helper()
	require.Eventually(c.t, cond, Wait, 5*time.Millisecond, what)
}

// Client returns a client of all servers.
func (c *Cluster) Client() *client.Client {
	c.t.Helper()
	cl, err := client.New(client.Config{Addrs: c.Addrs(), Logger: Logger("client")})
	require.NoError(c.t, err)
	c.t.Cleanup(func() { require.NoError(c.t, cl.Close()) })
	return cl
}

// Worker runs a worker until the test or the returned function ends it.
func (c *Cluster) Worker(cfg worker.Config) (stop func()) {
	c.t.Helper()
	cfg.Addrs = c.Addrs()
	cfg.Logger = Logger("worker " + cfg.Name)
	if cfg.StopTimeout == 0 {
		cfg.StopTimeout = -1
	}
	w, err := worker.New(cfg)
	require.NoError(c.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(c.t, <-done)
		})
	}
	c.t.Cleanup(stop)
	return stop
}

// CheckInvariants requires that no running server has a broken one.
func (c *Cluster) CheckInvariants() {
	c.t.Helper()
	for _, s := range c.Servers {
		if s.Node != nil {
			require.Empty(c.t, s.Node.State().Machine().CheckInvariants(), s.Config.NodeID)
		}
	}
}
