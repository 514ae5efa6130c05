package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/sim/cluster"
	"github.com/rota-scheduler/rota/task"
)

// If the caller gives up a transfer, its outcome is unknown: the message that starts the other server's election may
// be on its way.
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

// A transfer to a server that is gone fails definitely, because nothing is under way.
func TestATransferToAServerThatIsGoneFails(t *testing.T) {
	t.Parallel()
	onThree(t, func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, gone *cluster.Server) {
		require.NoError(t, gone.Crash())
		require.ErrorIs(t, leader.Node().TransferLeadership(ctx, gone.Name), task.ErrConflict)
		require.Equal(t, leader, c.Leader())
	})
}

// Otherwise, whoever may ask for transfers could have each leader replaced as soon as it leads.
func TestAYoungLeaderIsNotHandedOverOnRequest(t *testing.T) {
	t.Parallel()
	onThree(t, func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, gone *cluster.Server) {
		refused := func(request error) time.Duration {
			var e *task.Error
			require.ErrorAs(t, request, &e)
			require.Equal(t, task.KindExhausted, e.Kind)
			require.Positive(t, e.RetryAfter)
			return e.RetryAfter
		}
		wait := refused(leader.Node().RequestTransfer(ctx, ""))
		require.NoError(t, leader.Node().RequestTransfer(ctx, leader.Name), "it leads already")
		require.ErrorIs(t, leader.Node().RequestTransfer(ctx, "nobody"), task.ErrNotFound)
		time.Sleep(wait)
		// behind waits for a leader of a later term.
		behind := func(term uint64) (*cluster.Server, uint64) {
			for {
				s, err := c.WaitLeader(ctx)
				require.NoError(t, err)
				if now, ok := s.Node().Ready(); ok && now > term {
					return s, now
				}
				time.Sleep(time.Millisecond)
			}
		}
		term, _ := leader.Node().Ready()
		require.NoError(t, leader.Node().RequestTransfer(ctx, ""))
		next, term := behind(term)
		refused(next.Node().RequestTransfer(ctx, ""))
		require.NoError(t, next.Node().TransferLeadership(ctx, ""), "one that ends leaves at once")
		leader, _ = behind(term)

		// A transfer that fails keeps everybody waiting as well.
		if gone == leader {
			gone = next
		}
		require.NoError(t, gone.Crash())
		time.Sleep(refused(leader.Node().RequestTransfer(ctx, gone.Name)))
		require.ErrorIs(t, leader.Node().RequestTransfer(ctx, gone.Name), task.ErrConflict)
		refused(leader.Node().RequestTransfer(ctx, gone.Name))
	})
}
