package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// Tasks that many goroutines run share a stream, and each gets its own result once,
// whatever becomes of the stream.
func TestRunThroughFaultsGivesEachCallerItsOwnResult(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.inject("Submit", fault{cut: true}, fault{}, fault{cut: true, after: true}, fault{}, fault{},
		fault{err: &task.Error{Kind: task.KindExhausted, Msg: "full"}}, fault{cut: true, after: true})
	const callers, each = 16, 8
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := range each {
				payload := fmt.Sprintf("p-%d-%d", g, i)
				r, err := c.Run(context.Background(), task.Spec{Handler: "upper"}, []byte(payload))
				if assert.NoError(t, err) {
					assert.Equal(t, fmt.Sprintf("P-%d-%d", g, i), string(r.Output))
					assert.Equal(t, task.Succeeded, r.State)
				}
			}
		})
	}
	wg.Wait()
	cluster.locked(func() { require.Len(t, cluster.jobs, callers*each, "one job for each") })
	require.NotEmpty(t, cluster.called("SubmitStream"))
	require.Less(t, len(cluster.called("SubmitStream")), callers, "calls share their streams")
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	cluster.locked(func() { cluster.manual = true })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := c.Run(ctx, task.Spec{Handler: "upper"}, nil)
		done <- err
	}()
	require.NoError(t, cluster.await(context.Background(), func() bool { return len(cluster.jobs) == 1 }))
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
}
