package e2e

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// If there is no room, every server forgets finished jobs, the oldest first.
func TestHistoryStaysWithinItsRoom(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{
		Servers: 3, Workers: 1, Slots: 4,
		ServerFlags: []string{"--retention-bytes", "8388608", "--retention-interval", "50ms"},
	})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 3*within)
	defer cancel()
	const jobs, size = 300, 128 << 10
	payload := bytes.Repeat([]byte("x"), size)
	for range jobs {
		r, err := cl.Run(ctx, task.Spec{Handler: "rota.echo"}, payload)
		require.NoError(t, err)
		require.Equal(t, payload, r.Output)
	}
	// Each has its payload and its result.
	const room = 8<<20/(2*size) + 1
	await(t, "room", func() bool { return len(c.list()) <= room })
	left := c.list()
	require.NotEmpty(t, left)
	newest := uint64(0)
	for _, j := range left {
		require.Greater(t, j.ID, uint64(jobs-2*room), "the oldest go first")
		newest = max(newest, j.ID)
	}
	require.Equal(t, uint64(jobs), newest)
	_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: noHandler}})
	require.NoError(t, err)
	c.verify()
}
