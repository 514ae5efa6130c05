package node_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim/cluster"
)

// A leader that is lost in the midst of replacing a server leaves two voters, and a record of
// the one that is to be the third. The next leader takes it in, and gives it its vote.
func TestALeaderThatIsLostInAReplacementLeavesNoVoterMissing(t *testing.T) {
	t.Parallel()
	onThree(t, func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, wiped *cluster.Server) {
		was := wiped.Node().Self().RaftID()
		require.NoError(t, wiped.Crash())
		wiped.Wipe()
		// Nobody hears it yet.
		c.Net.CutOff([]string{wiped.Name}, c.Names())
		require.NoError(t, wiped.Start())
		self := wiped.Node().Self()
		_, err := leader.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: &logpb.ServerRecord{
			NodeId: self.NodeID, ServerId: self.ServerID, Addr: self.Addr, PeerAddr: self.PeerAddr, Vote: true,
		}}}})
		require.NoError(t, err)
		require.NoError(t, leader.Node().DropServer(was))
		require.NoError(t, leader.Crash())
		require.NoError(t, leader.Start())
		_, err = c.WaitLeader(ctx)
		require.NoError(t, err)
		// Long enough to forget servers that have left.
		time.Sleep(5 * time.Second)
		c.Net.Heal()
		for {
			require.NoError(t, ctx.Err(), "it has no vote")
			if l := c.Leader(); l != nil {
				servers, err := l.Node().Servers()
				require.NoError(t, err)
				if slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID == self.RaftID() && s.Suffrage == raft.Voter }) {
					break
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}
