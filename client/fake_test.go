package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// fakeCluster is a cluster in memory: real gRPC servers over one state that is
// never lost, and faults that tests script.
type fakeCluster struct {
	servers []*fakeServer

	mu sync.Mutex
	// changed is closed and replaced at every change of what follows.
	changed chan struct{}
	leader  int
	term    uint64
	// refuse makes followers answer with a hint at the leader instead of forwarding.
	refuse bool
	// manual leaves tasks pending until complete is called.
	manual bool
	// perMessage is how many results travel in one message of a stream.
	perMessage int
	// stream, if set, serves result streams.
	stream func(*rotav1.StreamResultsRequest, grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error
	// save sends backups.
	save func(grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]) error
	jobs map[uint64]*fakeJob
	keys map[string]*fakeJob
	// copies is how many answers to retries say that there is more to copy.
	copies int
	faults map[string][]fault
	// lies is what servers announce instead of the truth.
	lies  map[int]*rotav1.WatchLeaderResponse
	calls []string
}

// fault is what happens to one call.
type fault struct {
	// err is the answer. Without err, cut and hang, the call succeeds.
	err error
	// cut closes the connections of the server.
	cut bool
	// hang gives no answer until the caller gives up.
	hang bool
	// after: the call takes effect first, and then the fault happens.
	after bool
	// refused: a stream ends before anybody reads from it.
	refused bool
	// messages is how many messages of a stream pass before the fault.
	messages int
}

type fakeServer struct {
	rotav1.UnimplementedJobServiceServer
	rotav1.UnimplementedClusterServiceServer
	rotav1.UnimplementedWorkerServiceServer
	c        *fakeCluster
	n        int
	addr     string
	listener *bufconn.Listener
	grpc     *grpc.Server
	done     chan struct{}

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

func (s *fakeServer) SaveSnapshot(_ *rotav1.SaveSnapshotRequest, stream grpc.ServerStreamingServer[rotav1.SaveSnapshotResponse]) error {
	return s.c.save(stream)
}

// newCluster starts n servers, of which the first leads. stop ends them.
func newCluster(n int) (c *fakeCluster, stop func()) {
	c = &fakeCluster{
		changed: make(chan struct{}), term: 1, perMessage: 7,
		jobs: map[uint64]*fakeJob{}, keys: map[string]*fakeJob{}, faults: map[string][]fault{},
	}
	for i := range n {
		s := &fakeServer{c: c, n: i, addr: fmt.Sprintf("s%d:7420", i), listener: bufconn.Listen(256 << 10), done: make(chan struct{})}
		// Stop waits for the calls under way. Otherwise their goroutines would count as leaked.
		s.grpc = grpc.NewServer(wire.ServerOptions(grpc.WaitForHandlers(true), grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.streaming))...)
		rotav1.RegisterJobServiceServer(s.grpc, s)
		rotav1.RegisterClusterServiceServer(s.grpc, s)
		rotav1.RegisterWorkerServiceServer(s.grpc, s)
		c.servers = append(c.servers, s)
		go func() {
			defer close(s.done)
			// It fails only if stop was quicker.
			_ = s.grpc.Serve(s.listener)
		}()
	}
	return c, func() {
		for _, s := range c.servers {
			s.grpc.Stop()
			<-s.done
		}
	}
}

// config is that of a client of all servers.
func (c *fakeCluster) config() client.Config {
	cfg := client.Config{DialOptions: []grpc.DialOption{wire.WithDialer(c.dial)}}
	for _, s := range c.servers {
		cfg.Addrs = append(cfg.Addrs, s.addr)
	}
	return cfg
}

func (c *fakeCluster) dial(ctx context.Context, addr string) (net.Conn, error) {
	for _, s := range c.servers {
		if s.addr == addr {
			return s.dial(ctx)
		}
	}
	return nil, fmt.Errorf("no route to %s", addr)
}

func (s *fakeServer) dial(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	conn, err := s.listener.DialContext(ctx)
	if err == nil {
		s.conns = append(s.conns, conn)
	}
	return conn, err
}

// cut closes the connections of the server; new ones can be made.
func (s *fakeServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
}

// kill makes the server unreachable.
func (s *fakeServer) kill() {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.cut()
}

// locked runs f on the state and wakes whoever waits for a change of it.
func (c *fakeCluster) locked(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// await returns when cond holds or ctx ends.
func (c *fakeCluster) await(ctx context.Context, cond func() bool) error {
	for {
		c.mu.Lock()
		ok, changed := cond(), c.changed
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// elect makes a server the leader of a new term.
func (c *fakeCluster) elect(n int) {
	c.locked(func() {
		c.leader = n
		c.term++
	})
}

// inject scripts what happens to the next calls of a method, whichever server gets them.
func (c *fakeCluster) inject(method string, faults ...fault) {
	c.locked(func() { c.faults[method] = append(c.faults[method], faults...) })
}

// begin notes a call and returns its fault.
func (c *fakeCluster) begin(s *fakeServer, fullMethod string) fault {
	method := path.Base(fullMethod)
	var f fault
	c.locked(func() {
		c.calls = append(c.calls, fmt.Sprintf("s%d %s", s.n, method))
		if left := c.faults[method]; len(left) > 0 {
			f, c.faults[method] = left[0], left[1:]
		}
	})
	return f
}

// called returns the servers that a method was called on, in order.
func (c *fakeCluster) called(method string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var servers []string
	for _, call := range c.calls {
		if server, rest, _ := strings.Cut(call, " "); rest == method {
			servers = append(servers, server)
		}
	}
	return servers
}

// strike carries a fault out and returns the error of the call.
func (s *fakeServer) strike(ctx context.Context, f fault) error {
	switch {
	case f.hang:
		<-ctx.Done()
		return wire.ToStatus(ctx.Err())
	case f.cut:
		s.cut()
		// The connection is closed, so nobody receives this.
		return wire.ToStatus(task.Errorf(task.KindInternal, "cut"))
	default:
		return wire.ToStatus(f.err)
	}
}

func (f fault) none() bool { return !f.cut && !f.hang && f.err == nil }

func (s *fakeServer) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	f := s.c.begin(s, info.FullMethod)
	if !f.none() && !f.after {
		return nil, s.strike(ctx, f)
	}
	if err := s.lead(info.FullMethod); err != nil {
		return nil, wire.ToStatus(err)
	}
	resp, err := handler(ctx, req)
	if !f.none() {
		return nil, s.strike(ctx, f)
	}
	return resp, wire.ToStatus(err)
}

// lead refuses what only the leader does, where followers do not forward.
func (s *fakeServer) lead(fullMethod string) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.c.refuse || s.c.leader == s.n || path.Base(fullMethod) == "Status" {
		return nil
	}
	return &task.Error{Kind: task.KindUnavailable, Msg: "not the leader", Leader: s.c.servers[s.c.leader].addr}
}

func (s *fakeServer) streaming(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	f := s.c.begin(s, info.FullMethod)
	if f.none() {
		return wire.ToStatus(handler(srv, stream))
	}
	if f.refused {
		return s.strike(stream.Context(), f)
	}
	left := f.messages
	err := handler(srv, &faultyStream{ServerStream: stream, left: &left})
	if err != nil && !errors.Is(err, errFault) {
		return wire.ToStatus(err)
	}
	return s.strike(stream.Context(), f)
}

var errFault = errors.New("fault")

// faultyStream lets some messages through, and fails after them.
type faultyStream struct {
	grpc.ServerStream
	left *int
}

func (s *faultyStream) SendMsg(m any) error {
	if *s.left == 0 {
		return errFault
	}
	*s.left--
	return s.ServerStream.SendMsg(m)
}

// setup starts a cluster and a client of it, and ends both with the test.
func setup(t testing.TB, servers int) (*fakeCluster, *client.Client) {
	t.Helper()
	cluster, stop := newCluster(servers)
	t.Cleanup(stop)
	return cluster, newClient(t, cluster)
}

func newClient(t testing.TB, cluster *fakeCluster) *client.Client {
	t.Helper()
	c, err := client.New(cluster.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
