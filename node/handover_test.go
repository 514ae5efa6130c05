package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/sim/cluster"
	"github.com/rota-scheduler/rota/task"
)

// Whoever gave a transfer up does not know what comes of it: the message that starts the
// other server's election may be on its way.
func TestATransferThatNobodyWaitedForHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	onThree(t, func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, to *cluster.Server) {
		// Messages arrive, and take longer than the caller waits.
		c.Net.SetSlow([]string{leader.Name}, []string{to.Name}, 50*time.Millisecond)
		short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
		defer stop()
		err := leader.Node().TransferLeadership(short, to.Name)
		require.ErrorIs(t, err, task.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for c.Leader() != to {
			require.NoError(t, ctx.Err(), "and yet it became leader")
			time.Sleep(time.Millisecond)
		}
		c.Net.Heal()
		require.NoError(t, to.Node().TransferLeadership(ctx, leader.Name), "one that is waited for is known")
	})
}

// A transfer to a server that is gone fails, definitely: nothing is under way.
func TestATransferToAServerThatIsGoneFails(t *testing.T) {
	t.Parallel()
	onThree(t, func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, gone *cluster.Server) {
		require.NoError(t, gone.Crash())
		require.ErrorIs(t, leader.Node().TransferLeadership(ctx, gone.Name), task.ErrConflict)
		require.Equal(t, leader, c.Leader())
	})
}
