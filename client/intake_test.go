package client

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// A job whose payloads never end is refused at the first task beyond the bound. The tasks before it have been sent.
func TestAnIntakeStopsAtTheMostTasksOfAJob(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := &intake{ctx: ctx, limit: chunkBytes, wake: make(chan struct{}, 1), taken: make(chan struct{}, 1), read: task.MaxTasks - 2}
	read := 0
	in.readAll(func(yield func([]byte) bool) {
		for yield(nil) {
			read++
		}
	})
	require.Equal(t, 2, read)
	require.Equal(t, uint32(2), in.batch.count)
	require.True(t, in.ended)
	require.ErrorIs(t, in.err, task.ErrTooLarge)
	require.ErrorContains(t, in.err, "more than 10000000 tasks; make several jobs of them")
}
