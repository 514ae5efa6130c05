package node_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/sim/cluster"
	"github.com/rota-scheduler/rota/task"
)

// Whoever gave a transfer up does not know what comes of it: the message that starts the
// other server's election may be on its way.
func TestATransferThatNobodyWaitedForHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := cluster.New(cluster.Config{Servers: 3, Dir: dir, Seed: 1})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		to := c.Servers[0]
		if to == leader {
			to = c.Servers[1]
		}
		// Messages arrive, and take longer than the caller waits.
		c.Net.SetSlow([]string{leader.Name}, []string{to.Name}, 50*time.Millisecond)
		short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
		defer stop()
		err = leader.Node().TransferLeadership(short, to.Name)
		require.ErrorIs(t, err, task.ErrUnknownOutcome)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		for c.Leader() != to {
			require.NoError(t, ctx.Err(), "and yet it became leader")
			time.Sleep(time.Millisecond)
		}
		c.Net.Heal()
		require.NoError(t, to.Node().TransferLeadership(ctx, leader.Name), "one that is waited for is known")
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}

// A transfer to a server that is gone fails, definitely: nothing is under way.
func TestATransferToAServerThatIsGoneFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := cluster.New(cluster.Config{Servers: 3, Dir: dir, Seed: 1})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		gone := c.Servers[0]
		if gone == leader {
			gone = c.Servers[1]
		}
		require.NoError(t, gone.Crash())
		require.ErrorIs(t, leader.Node().TransferLeadership(ctx, gone.Name), task.ErrConflict)
		require.Equal(t, leader, c.Leader())
		require.NoError(t, c.Close())
	})
}
