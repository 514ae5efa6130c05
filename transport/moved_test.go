package transport_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// requireServed requires that every server answers a read, whoever leads, and that all of them know all others.
func requireServed(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	for i, s := range c.Servers {
		conn, err := wire.Dial(s.Addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = rotav1.NewJobServiceClient(conn).ListJobs(ctx, &rotav1.ListJobsRequest{})
		require.NoError(t, err, "a read at %s", s.Config.NodeID)
		c.Eventually(func() bool { return knowsAll(ctx, c, i) }, s.Config.NodeID+" knows and reaches all others")
	}
	verify(t, c, c.Client())
}

// knowsAll says whether server i has every server for a voter, where it is, and reaches it there.
func knowsAll(ctx context.Context, c *testcluster.Cluster, i int) bool {
	n := c.Servers[i].Node
	peers, err := n.Peers(ctx)
	if err != nil || len(peers) != len(c.Servers) {
		return false
	}
	for _, p := range peers {
		at := slices.IndexFunc(c.Servers, func(s *testcluster.Server) bool { return s.Config.NodeID == p.NodeID })
		if at < 0 || p.Err != nil || !p.Voter || p.Info.Addr != c.Servers[at].Addr || p.PeerAddr != c.PeerAddr(at) {
			return false
		}
	}
	known, want := n.Addrs(), c.Addrs()
	slices.Sort(known)
	slices.Sort(want)
	return slices.Equal(known, want)
}

// follower is a server that does not lead.
func follower(c *testcluster.Cluster, but ...int) int {
	leader := c.Leader()
	for i := range c.Servers {
		if i != leader && (len(but) == 0 || i != but[0]) {
			return i
		}
	}
	return -1
}

// voteOf waits until every server that runs knows that server i votes from where it is.
func voteOf(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	self := c.Servers[i].Node.Self()
	c.Eventually(func() bool {
		for _, s := range c.Servers {
			if s.Node == nil {
				continue
			}
			known := false
			peers, err := s.Node.Peers(t.Context())
			for _, p := range peers {
				known = known || p.NodeID == self.NodeID && p.ServerID == self.ServerID && p.Voter && p.PeerAddr == self.PeerAddr && p.Record.GetAddr() == self.Addr
			}
			if err != nil || !known {
				return false
			}
		}
		return c.Servers[i].Node.CaughtUp()
	}, "a vote from the new address")
}

// lead makes server i the leader.
func lead(t *testing.T, c *testcluster.Cluster, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	cl := c.Client()
	var err error
	c.Eventually(func() bool {
		_, err = cl.TransferLeader(ctx, c.Servers[i].Config.NodeID)
		return err == nil
	}, "leadership is handed over")
	c.Eventually(func() bool { _, ok := c.Servers[i].Node.Ready(); return ok }, "the new leader is ready")
}

func TestAServerAtOtherAddressesIsRecordedAndLeads(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	moved := follower(c)
	c.Stop(moved)
	c.Move(moved)
	c.Restart(moved)
	voteOf(t, c, moved)
	requireServed(t, c)
	lead(t, c, moved)
	requireServed(t, c)
	// Servers that are started again know the new address, too.
	for i := range c.Servers {
		c.Stop(i)
		c.Restart(i)
		c.Leader()
		voteOf(t, c, i)
	}
	requireServed(t, c)
}

// The leader of before is down, and one of the others says that it is where nobody finds it: nobody is elected until
// the leader of before is back, rather than a leader whom nobody finds.
func TestAServerThatNobodyFindsAsksForNoVotes(t *testing.T) {
	t.Parallel()
	var lost atomic.Value
	lost.Store("")
	c := testcluster.Start(t, 3, func(cfg *node.Config) {
		if cfg.NodeID == lost.Load() {
			cfg.Addr = "127.0.0.1:9"
		}
	})
	leader := c.Leader()
	moved := follower(c)
	other := follower(c, moved)
	c.Stop(moved)
	c.Kill(leader)
	c.Move(moved)
	lost.Store(c.Servers[moved].Config.NodeID)
	c.Restart(moved)
	c.Eventually(func() bool { return c.Servers[moved].Node.Self().Problem != "" }, "it says what is wrong")
	require.Contains(t, c.Servers[moved].Node.Self().Problem, "takes no part in elections")
	// Elections take about one timeout, and there were many by then.
	c.Eventually(func() bool { return c.Servers[moved].Node.Leaderless() && c.Servers[other].Node.Leaderless() }, "nobody leads")
	require.Empty(t, c.Servers[other].Node.Leader().NodeID)
	c.Restart(leader)
	require.NotEqual(t, moved, c.Leader())
	submitOne(t, c)
}

// submitOne requires that the cluster takes a job.
func submitOne(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	_, err := c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "none"}})
	require.NoError(t, err)
}

// One of three has moved, and another one is down for good. The two that are left are a majority, and find each other.
func TestTwoServersGoOnWithoutTheThirdWhenOneHasMoved(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	leader := c.Leader()
	moved := follower(c)
	c.Stop(moved)
	c.Kill(leader)
	c.Move(moved)
	c.Restart(moved)
	c.Leader()
	voteOf(t, c, moved)
	submitOne(t, c)
	c.Restart(leader)
	requireServed(t, c)
}

// stopAll ends all servers in good order.
func stopAll(c *testcluster.Cluster) {
	for i := range c.Servers {
		c.Stop(i)
	}
}

// restartAll starts all servers, and requires that they serve as before.
func restartAll(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	for i := range c.Servers {
		c.Restart(i)
	}
	c.Leader()
	for i := range c.Servers {
		voteOf(t, c, i)
	}
	requireServed(t, c)
	c.Eventually(func() bool {
		return !slices.ContainsFunc(c.Servers, func(s *testcluster.Server) bool { return s.Node.Self().Problem != "" })
	}, "nothing is wrong")
}

// Three containers that are restarted have other addresses than before, all of them.
func TestServersThatHaveAllMovedFindEachOther(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	submitOne(t, c)
	for range 2 {
		stopAll(c)
		for i := range c.Servers {
			c.Move(i)
		}
		restartAll(t, c)
	}
	for i := range c.Servers {
		lead(t, c, i)
	}
}

// Or they have each other's: Raft's configuration has no address twice, so none of them could be recorded first.
func TestServersThatExchangedAddressesFindEachOther(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	submitOne(t, c)
	for range 3 {
		stopAll(c)
		c.Exchange(0, 1, 2)
		restartAll(t, c)
	}
}

// The leader stays where it is, so nobody takes an address for itself: each of the others needs that of the other one.
func TestTwoServersThatExchangedAddressesAreRecorded(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	submitOne(t, c)
	one := follower(c)
	other := follower(c, one)
	c.Stop(one)
	c.Stop(other)
	c.Exchange(one, other)
	c.Restart(one)
	c.Restart(other)
	c.Leader()
	voteOf(t, c, one)
	voteOf(t, c, other)
	requireServed(t, c)
}

// The join lists of all have one server, which knows none of the others.
func TestOneCommonAddressIsEnoughToFindEachOther(t *testing.T) {
	t.Parallel()
	var made atomic.Bool
	c := testcluster.Start(t, 5, func(cfg *node.Config) {
		if made.Load() {
			cfg.Join = cfg.Join[:1]
		}
	})
	made.Store(true)
	stopAll(c)
	for i := range c.Servers {
		c.Move(i)
	}
	restartAll(t, c)
}

func TestAServerWithoutItsDataAtOtherAddressesIsFoundByAll(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	wiped := follower(c)
	c.Kill(wiped)
	c.Wipe(wiped)
	c.Move(wiped)
	c.Restart(wiped)
	voteOf(t, c, wiped)
	requireServed(t, c)
	lead(t, c, wiped)
	requireServed(t, c)
}

// A server whose gRPC port alone has changed is reached by raft all the time.
func TestAServerAtAnotherGRPCAddressIsRecorded(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	moved := c.Leader()
	peerAddr := c.PeerAddr(moved)
	c.Stop(moved)
	addr := c.Servers[moved].Addr
	c.MoveGRPC(moved)
	require.NotEqual(t, addr, c.Servers[moved].Addr)
	require.Equal(t, peerAddr, c.PeerAddr(moved))
	c.Restart(moved)
	voteOf(t, c, moved)
	lead(t, c, moved)
	requireServed(t, c)
}

func TestAnOnlyServerMovesByItself(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	c.Stop(0)
	c.Move(0)
	c.Restart(0)
	c.Leader()
	voteOf(t, c, 0)
	requireServed(t, c)
}

// A process that runs elsewhere with a copy of a server's data does not pass for that server while it lives.
func TestACopyOfALivingServerIsNotRecorded(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, calm)
	for i := range c.Servers {
		voteOf(t, c, i) // before that nobody knows who lives
	}
	leader, twin := c.Leader(), follower(c)
	own := c.Servers[twin].Node.Self()
	fake := own
	fake.Addr, fake.PeerAddr, fake.Nonce = "127.0.0.1:9", "127.0.0.1:10", "another"
	var err error
	c.Eventually(func() bool {
		// On a busy machine the real one may seem to be away, for a moment.
		_, err = c.Servers[leader].Node.AddServer(t.Context(), fake)
		return errors.Is(err, task.ErrConflict) || err == nil
	}, "it lives")
	require.ErrorContains(t, err, "living server")
	require.Equal(t, own.Addr, recorded(c, leader, own.NodeID).Record.GetAddr())
	_, err = c.Client().Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "none"}})
	require.NoError(t, err)
	requireServed(t, c)
}

// recorded is what server i says of another one.
func recorded(c *testcluster.Cluster, i int, nodeID string) node.PeerStatus {
	peers, _ := c.Servers[i].Node.Peers(context.Background())
	for _, p := range peers {
		if p.NodeID == nodeID {
			return p
		}
	}
	return node.PeerStatus{}
}
