package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/node"
)

// While one server is away, all others are replaced by new ones, one after the other. When it is back, its
// configuration has neither the leader nor anybody who could tell it of the leader. It finds them by its join list,
// and listens to them.
func TestAServerThatWasAwayHearsALeaderThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c := New(Config{Servers: 5, Dir: dir, Seed: 1})
		require.NoError(t, c.StartAll())
		_, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		away := c.Servers[4]
		require.NoError(t, away.Crash())
		for _, s := range c.Servers[:4] {
			require.NoError(t, s.Crash())
			s.Wipe()
			require.NoError(t, s.Start())
			waitVoter(ctx, t, c, s)
		}
		require.NoError(t, away.Start())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		require.NoError(t, away.Node().WaitApplied(ctx, leader.Node().State().Machine().AppliedIndex()))
		for _, s := range away.Node().Self().Members {
			require.Contains(t, leader.Node().Self().Members, s, "it has the configuration")
		}
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}

// waitVoter waits until a server votes, by the configuration of each server that runs: the leader
// has it first, alone, and what it has not committed is gone with its disk.
func waitVoter(ctx context.Context, t *testing.T, c *Cluster, s *Server) {
	t.Helper()
	votes := func(by *node.Node) bool {
		servers, err := by.Servers()
		require.NoError(t, err)
		return slices.ContainsFunc(servers, func(v raft.Server) bool {
			return v.ID == s.Node().Self().RaftID() && v.Suffrage == raft.Voter
		})
	}
	for _, by := range c.Servers {
		for by.Node() != nil && !votes(by.Node()) {
			require.NoError(t, sleep(ctx, 50*time.Millisecond), "%s does not vote, by %s", s.Name, by.Name)
		}
	}
}
