package node_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim/cluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// growing is servers of which the first one is a cluster, and the others join it.
type growing struct {
	t   *testing.T
	ctx context.Context
	*cluster.Cluster
}

// onGrowing runs f on such servers. The first one leads.
func onGrowing(t *testing.T, servers int, f func(g *growing)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c := cluster.New(cluster.Config{Servers: servers, Dir: dir, Seed: 1, Edit: func(cfg *node.Config) {
			cfg.BootstrapExpect = 0
			if cfg.NodeID == "n1" {
				cfg.BootstrapExpect = 1
			}
		}})
		require.NoError(t, c.Servers[0].Start())
		first, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		g := &growing{t, ctx, c}
		g.await("the version", func() bool { return first.Node().State().Machine().ActiveVersion() >= fsm.RemovalVersion })
		f(g)
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}

func (g *growing) await(what string, done func() bool) {
	g.t.Helper()
	for !done() {
		require.NoError(g.t, g.ctx.Err(), what)
		time.Sleep(10 * time.Millisecond)
	}
}

// change makes a change at whoever leads, and sends it again as a client would.
func (g *growing) change(what string, f func(n *node.Node) error) {
	g.t.Helper()
	g.await(what, func() bool {
		l := g.Leader()
		if l == nil {
			return false
		}
		err := f(l.Node())
		if errors.Is(err, task.ErrUnavailable) || errors.Is(err, task.ErrUnknownOutcome) {
			return false
		}
		require.NoError(g.t, err, what)
		return true
	})
}

// suffrage is what a server has by the leader's configuration; known is false if it is no member.
func (g *growing) suffrage(id raft.ServerID) (suffrage raft.ServerSuffrage, known bool) {
	l := g.Leader()
	if l == nil {
		return 0, false
	}
	n := l.Node()
	if n == nil {
		return 0, false
	}
	servers, err := n.Servers()
	if err != nil {
		return 0, false
	}
	for _, s := range servers {
		if s.ID == id {
			return s.Suffrage, true
		}
	}
	return 0, false
}

// add starts a server and gives it a vote.
func (g *growing) add(s *cluster.Server) {
	g.t.Helper()
	require.NoError(g.t, s.Start())
	id := s.Node().Self().RaftID()
	g.await(s.Name+" joins", func() bool { _, known := g.suffrage(id); return known })
	g.change("add "+s.Name, func(n *node.Node) error {
		_, err := n.EntitleServer(g.ctx, node.ServerRef{NodeID: s.Name})
		return err
	})
	g.await("the vote of "+s.Name, func() bool { suffrage, known := g.suffrage(id); return known && suffrage == raft.Voter })
}

// remove removes a server. It must end, and must not start again with its data.
func (g *growing) remove(s *cluster.Server) {
	g.t.Helper()
	ref := node.ServerRef{NodeID: s.Name, ServerID: s.Node().Self().ServerID}
	g.change("remove "+s.Name, func(n *node.Node) error {
		_, err := n.RemoveServer(g.ctx, ref, false)
		return err
	})
	g.mustEnd(s)
}

func (g *growing) mustEnd(s *cluster.Server) {
	g.t.Helper()
	select {
	case <-s.Node().Removed():
	case <-g.ctx.Done():
		require.NoError(g.t, g.ctx.Err(), "%s does not end", s.Name)
	}
	require.NoError(g.t, s.Crash())
	require.ErrorContains(g.t, s.Start(), "was removed from its cluster")
}

// submits is jobs that are made while servers come and go.
type submits struct {
	g    *growing
	stop context.CancelFunc
	done sync.WaitGroup
	// made is the jobs that were acknowledged.
	made []uint64
}

func (g *growing) submits() *submits {
	ctx, stop := context.WithCancel(g.ctx)
	s := &submits{g: g, stop: stop}
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
	require.NoError(g.t, err)
	s.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			time.Sleep(5 * time.Millisecond)
			l := g.Leader()
			if l == nil {
				continue
			}
			n := l.Node()
			if n == nil {
				continue
			}
			one, cancel := context.WithTimeout(ctx, time.Second)
			key := fmt.Sprint(i)
			res, err := n.Propose(one, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}, Key: key, Hash: []byte(key)}}})
			cancel()
			if err == nil {
				s.made = append(s.made, res.Job)
			}
		}
	})
	return s
}

// requireAll ends the submits and requires that a server has every job that was acknowledged.
func (s *submits) requireAll(on *cluster.Server) {
	t := s.g.t
	t.Helper()
	s.stop()
	s.done.Wait()
	require.Greater(t, len(s.made), 100)
	require.NoError(t, on.Node().Barrier(s.g.ctx))
	for _, job := range s.made {
		_, err := on.Node().State().Job(job)
		require.NoError(t, err)
	}
}

func TestOneServerBecomesFiveAndOneAgain(t *testing.T) {
	t.Parallel()
	onGrowing(t, 5, func(g *growing) {
		load := g.submits()
		for _, s := range g.Servers[1:] {
			g.add(s)
		}
		for _, s := range g.Servers[:4] {
			g.remove(s) // the leader among them
		}
		load.requireAll(g.Servers[4])
	})
}

// A server was away when it was removed. The leader tells it when it comes back.
func TestAServerThatWasAwayHearsThatItWasRemoved(t *testing.T) {
	t.Parallel()
	onGrowing(t, 4, func(g *growing) {
		for _, s := range g.Servers[1:] {
			g.add(s)
		}
		away := g.Servers[3]
		if g.Leader() == away {
			away = g.Servers[2]
		}
		ref := node.ServerRef{NodeID: away.Name, ServerID: away.Node().Self().ServerID}
		require.NoError(t, away.Crash())
		g.change("remove it", func(n *node.Node) error {
			_, err := n.RemoveServer(g.ctx, ref, false)
			return err
		})
		require.NoError(t, away.Start())
		g.mustEnd(away)
		// With an empty folder it is a new server, without a vote.
		away.Wipe()
		require.NoError(t, away.Start())
		id := away.Node().Self().RaftID()
		g.await("it joins", func() bool { _, known := g.suffrage(id); return known })
		time.Sleep(10 * time.Second)
		suffrage, known := g.suffrage(id)
		require.True(t, known)
		require.Equal(t, raft.Nonvoter, suffrage)
	})
}

// A leader notes the removal of a server, and is lost. The server goes on, because it may be needed for a majority,
// until the next leader has removed it.
func TestALeaderThatIsLostInARemovalLeavesItToTheNext(t *testing.T) {
	t.Parallel()
	onThree(t, func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, other *cluster.Server) {
		g := &growing{t, ctx, c}
		g.await("the version", func() bool { return leader.Node().State().Machine().ActiveVersion() >= fsm.RemovalVersion })
		self := other.Node().Self()
		_, err := leader.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_RemoveServer{RemoveServer: &logpb.RemoveServer{NodeId: self.NodeID, ServerId: self.ServerID}}})
		require.NoError(t, err)
		require.NoError(t, leader.Crash())
		_, err = c.WaitLeader(ctx)
		require.NoError(t, err, "it votes until it is removed")
		require.NoError(t, leader.Start())
		g.mustEnd(other)
		_, known := g.suffrage(self.RaftID())
		require.False(t, known)
	})
}
