package node_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/sim/cluster"
)

// onThree runs f on three simulated servers that have a leader, of which other is none.
func onThree(t *testing.T, f func(ctx context.Context, t *testing.T, c *cluster.Cluster, leader, other *cluster.Server)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := cluster.New(cluster.Config{Servers: 3, Dir: dir, Seed: 1})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		other := c.Servers[0]
		if other == leader {
			other = c.Servers[1]
		}
		f(ctx, t, c, leader, other)
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}
