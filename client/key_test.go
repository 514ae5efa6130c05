package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// Keys that grow with time cost the servers a fraction of what other keys cost. No two may be equal.
func TestRandomKeysGrowAndDiffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := map[string]bool{}
		for range 1000 {
			seen[client.RandomKey()] = true
		}
		require.Len(t, seen, 1000)
		for range 100 {
			before := client.RandomKey()
			require.NoError(t, task.ValidKey(before))
			time.Sleep(time.Millisecond)
			require.Less(t, before, client.RandomKey())
		}
	})
}
