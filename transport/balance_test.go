package transport_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker"
)

// The first tasks of a job are no-ops and the last ones take long: by then workers hold thousands of those in
// advance. They are spread over all workers all the same, a job that comes then does not wait for their end, and a
// cancel reaches tasks that wait and tasks that run.
func TestTasksThatTurnLongAreSpreadOverAllWorkers(t *testing.T) {
	t.Parallel()
	const workers, slots, quick, long, each = 10, 2, 100_000, 2000, 50 * time.Millisecond
	c := testcluster.Start(t, 3, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	var ran [workers]atomic.Int64
	for i := range workers {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: slots, Handlers: map[string]worker.Handler{
			"turning": func(ctx context.Context, t *worker.Task) ([]byte, error) {
				if t.Index < quick {
					return nil, nil
				}
				ran[i].Add(1)
				select {
				case <-time.After(each):
				case <-ctx.Done():
				}
				return nil, ctx.Err()
			},
			"quick": func(context.Context, *worker.Task) ([]byte, error) { return nil, nil },
		}})
	}
	cl := c.Client()
	// Within a queue, waiting tasks of the older job go first, also those that come back.
	submit := func(handler string, n int) *client.Job {
		j, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: handler, Queue: handler}, Count: n})
		require.NoError(t, err)
		return j
	}
	begun := func() (most, all int64) {
		for i := range ran {
			n := ran[i].Load()
			most, all = max(most, n), all+n
		}
		return most, all
	}
	reaches := func(n int64) {
		c.Eventually(func() bool { _, all := begun(); return all >= n }, "long tasks run")
	}

	turning := submit("turning", quick+long)
	reaches(1)
	other, err := submit("quick", 1000).Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, task.JobSucceeded, other.State)
	_, all := begun()
	require.Less(t, all, int64(long), "the other job did not wait for the end of this one")
	info, err := turning.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, task.JobSucceeded, info.State)
	most, all := begun()
	require.EqualValues(t, long, all, "what is given back has not run")
	require.Less(t, most, int64(long/3), "tasks that one of ten workers ran")

	doomed := submit("turning", quick+long)
	reaches(long + 1)
	_, err = doomed.Cancel(ctx)
	require.NoError(t, err)
	info, err = doomed.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, task.JobCancelled, info.State)
	_, all = begun()
	require.Less(t, all, int64(2*long), "what waited did not run")
}
