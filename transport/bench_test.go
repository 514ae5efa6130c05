package transport_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker"
)

// BenchmarkArray runs arrays of no-op tasks through three servers and two workers in
// one process, every result received.
func BenchmarkArray(b *testing.B) {
	c := testcluster.Start(b, 3, nil)
	noop := func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }
	for i := range 2 {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: 4, Handlers: map[string]worker.Handler{"noop": noop}})
	}
	cl := c.Client()
	ctx := context.Background()
	const n = 100_000
	for b.Loop() {
		start := time.Now()
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "noop"}, Count: n})
		require.NoError(b, err)
		got := 0
		for _, err := range job.AsCompleted(ctx) {
			require.NoError(b, err)
			got++
		}
		require.Equal(b, n, got)
		b.ReportMetric(n/time.Since(start).Seconds(), "tasks/s")
	}
}
