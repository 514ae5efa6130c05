package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// calm is for tests of what one leader does: it keeps a busy machine from electing another one.
func calm(cfg *node.Config) { cfg.ElectionTimeout = 2 * time.Second }

// stranger is whoever says that it is a server: it answers when it is asked back, and does
// nothing else.
type stranger struct {
	peerpb.UnimplementedPeerServiceServer
	is   *peerpb.IdentifyResponse
	stop func()
}

func (s *stranger) Identify(context.Context, *peerpb.IdentifyRequest) (*peerpb.IdentifyResponse, error) {
	return s.is, nil
}

func newStranger(t *testing.T, nodeID, serverID string) *stranger {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	raft, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = raft.Close() })
	s := &stranger{is: &peerpb.IdentifyResponse{
		NodeId: nodeID, ServerId: serverID, Addr: l.Addr().String(), PeerAddr: raft.Addr().String(), Nonce: "nonce of " + serverID, Knows: fsm.Version,
	}}
	g := grpc.NewServer()
	peerpb.RegisterPeerServiceServer(g, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(l)
	}()
	s.stop = func() {
		g.Stop()
		<-served
	}
	t.Cleanup(s.stop)
	return s
}

// request is how it asks to be taken in.
func (s *stranger) request() *peerpb.JoinRequest {
	return &peerpb.JoinRequest{NodeId: s.is.NodeId, ServerId: s.is.ServerId, Addr: s.is.Addr, PeerAddr: s.is.PeerAddr, Nonce: s.is.Nonce, Knows: s.is.Knows}
}

// joins is a way to ask the leader.
func joins(t *testing.T, c *testcluster.Cluster) func(*peerpb.JoinRequest) error {
	t.Helper()
	conn, err := wire.Dial(c.Servers[c.Leader()].Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return func(r *peerpb.JoinRequest) error {
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
		defer cancel()
		_, err := peerpb.NewPeerServiceClient(conn).Join(ctx, r)
		return wire.FromStatus(err)
	}
}

// members is how many servers the leader has.
func members(t *testing.T, c *testcluster.Cluster) int {
	t.Helper()
	servers, err := c.Servers[c.Leader()].Node.Servers()
	require.NoError(t, err)
	return len(servers)
}

func TestWhoDoesNotAnswerIsNotTakenIn(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, calm)
	for i := range c.Servers {
		voteOf(t, c, i)
	}
	join := joins(t, c)
	good := newStranger(t, "stray", "ab")
	m := c.Servers[c.Leader()].Node.State().Machine()
	// The rise to the version that all know is an entry too.
	require.Eventually(t, func() bool { return m.ActiveVersion() == task.Version }, testcluster.Wait, 10*time.Millisecond)
	before := m.AppliedIndex()
	for name, edit := range map[string]func(r *peerpb.JoinRequest){
		"a slash":         func(r *peerpb.JoinRequest) { r.NodeId = "n1/x" },
		"an escape":       func(r *peerpb.JoinRequest) { r.NodeId = "n\x1b[31m" },
		"no id":           func(r *peerpb.JoinRequest) { r.ServerId = "" },
		"a long id":       func(r *peerpb.JoinRequest) { r.NodeId = string(make([]byte, 1<<20)) },
		"no port":         func(r *peerpb.JoinRequest) { r.PeerAddr = "127.0.0.1" },
		"another cluster": func(r *peerpb.JoinRequest) { r.ClusterId = "feed" },
		"nobody there":    func(r *peerpb.JoinRequest) { r.Addr = "127.0.0.1:1" },
		"somebody else":   func(r *peerpb.JoinRequest) { r.Addr = c.Servers[0].Addr },
		"another process": func(r *peerpb.JoinRequest) { r.Nonce = "another" },
		"another address": func(r *peerpb.JoinRequest) { r.PeerAddr = "127.0.0.1:1" },
		"a living server": func(r *peerpb.JoinRequest) { r.NodeId = "n1" },
	} {
		r := good.request()
		edit(r)
		require.Error(t, join(r), name)
	}
	for i := range 200 {
		r := good.request()
		r.NodeId, r.Addr = fmt.Sprint("stray-", i), "127.0.0.1:1"
		require.Error(t, join(r))
	}
	require.Equal(t, before, m.AppliedIndex(), "what is refused writes nothing")
	require.Equal(t, 3, members(t, c))
}

func TestServersWithoutAVoteAreFewAndToldOfToNobody(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, calm)
	for i := range c.Servers {
		voteOf(t, c, i)
	}
	join := joins(t, c)
	var all []*stranger
	for i := range 3 {
		s := newStranger(t, fmt.Sprint("stray-", i), "ab")
		all = append(all, s)
		c.Eventually(func() bool { return join(s.request()) == nil }, "the first ones are taken in, one after the other")
	}
	require.Equal(t, 6, members(t, c))
	more := newStranger(t, "stray-3", "ab")
	err := join(more.request())
	require.ErrorIs(t, err, task.ErrExhausted)
	require.ErrorContains(t, err, "without a vote")
	m := c.Servers[c.Leader()].Node.State().Machine()
	before := m.AppliedIndex()
	for range 100 {
		require.Error(t, join(more.request()))
		require.NoError(t, join(all[0].request()), "one that is there already")
	}
	require.Equal(t, before, m.AppliedIndex())
	for _, s := range c.Servers {
		require.NotContains(t, s.Node.Addrs(), all[0].is.Addr)
		require.Len(t, s.Node.Addrs(), 3)
	}
	_, err = c.Client().Status(t.Context())
	require.NoError(t, err)
}

// A server that was stopped for a moment does not lose its place to one that takes its name.
func TestAServerThatIsStartedAnewKeepsItsPlace(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, calm)
	stopped := follower(c)
	for i := range c.Servers {
		voteOf(t, c, i)
	}
	join := joins(t, c)
	thief := newStranger(t, c.Servers[stopped].Config.NodeID, "ab")
	const moment = 2 * time.Second // who is away for 5 may be replaced
	since := time.Now()
	c.Stop(stopped)
	for range 10 {
		if time.Since(since) < moment {
			require.Error(t, join(thief.request()))
		}
	}
	c.Restart(stopped)
	voteOf(t, c, stopped)
	requireServed(t, c)
	var err error
	c.Eventually(func() bool {
		err = join(thief.request())
		return errors.Is(err, task.ErrConflict) || err == nil
	}, "it is known to live")
	require.ErrorIs(t, err, task.ErrConflict)
}

// A server that was away for long enough loses its place, and gets it back when the other one is gone.
func TestAServerThatWasReplacedByMistakeComesBack(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, calm)
	stopped := follower(c)
	for i := range c.Servers {
		voteOf(t, c, i)
	}
	join := joins(t, c)
	c.Stop(stopped)
	thief := newStranger(t, c.Servers[stopped].Config.NodeID, "ab")
	c.Eventually(func() bool { return join(thief.request()) == nil }, "it takes the place of one that is away")
	c.Restart(stopped)
	c.Eventually(func() bool { return c.Servers[stopped].Node.Self().Problem != "" }, "the real one says that something is wrong")
	thief.stop()
	voteOf(t, c, stopped)
	requireServed(t, c)
}
