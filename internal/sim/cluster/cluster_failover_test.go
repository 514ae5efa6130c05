package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever notices the loss first, and whoever has the longer log: if two servers are left, they elect the next
// leader in one round of votes. It takes the election timeout of 400 ms, a fifth of it, and the round. Four may need
// a second round.
func TestALostLeaderIsReplacedInOneRound(t *testing.T) {
	t.Parallel()
	for servers, bound := range map[int]time.Duration{3: 600 * time.Millisecond, 5: 1400 * time.Millisecond} {
		dir := memoryDir(t)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			c := New(Config{Servers: servers, Dir: dir, Seed: 1})
			require.NoError(t, c.StartAll())
			for round := range 20 {
				lost, err := c.WaitLeader(ctx)
				require.NoError(t, err)
				require.NoError(t, sleep(ctx, 3*time.Second))
				require.NoError(t, lost.Crash())
				since := time.Now()
				_, err = c.WaitLeader(ctx)
				require.NoError(t, err)
				require.Less(t, time.Since(since), bound, "round %d of %d servers", round, servers)
				require.NoError(t, lost.Start())
				require.NoError(t, sleep(ctx, 3*time.Second))
			}
			require.NoError(t, c.Close())
			require.NoError(t, c.Fatal())
		})
	}
}
