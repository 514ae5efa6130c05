package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// If all servers were down for an hour, their newest entry is an hour old, and their time goes on from there. What a
// new leader stamps at once, such as when a task may be tried again, must not have that old time.
func TestANewLeaderKnowsTheTimeBeforeItServes(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		c := New(Config{Servers: 3, Dir: dir, Seed: 1})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		submitBytes(ctx, t, leader, 0)
		for _, s := range c.Servers {
			require.NoError(t, s.Crash())
		}
		time.Sleep(time.Hour)
		require.NoError(t, c.StartAll())
		for c.Leader() == nil {
			require.NoError(t, sleep(ctx, time.Millisecond))
		}
		require.WithinDuration(t, time.Now(), time.Unix(0, c.Leader().Node().Now()), time.Second)
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}
