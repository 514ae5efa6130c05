package transport_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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

// BenchmarkSharedPayload is BenchmarkArray with a shared payload of 256 KiB.
func BenchmarkSharedPayload(b *testing.B) {
	c := testcluster.Start(b, 3, nil)
	noop := func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }
	for i := range 2 {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: 4, Handlers: map[string]worker.Handler{"noop": noop}})
	}
	cl := c.Client()
	ctx := context.Background()
	const n = 20_000
	for b.Loop() {
		start := time.Now()
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "noop", SharedPayload: make([]byte, task.MaxPayload)}, Count: n})
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

// BenchmarkDistinct runs tasks with payloads and results of their own, in jobs of 1000.
func BenchmarkDistinct(b *testing.B) {
	c := testcluster.Start(b, 3, nil)
	half := func(_ context.Context, t *worker.Task) ([]byte, error) { return t.Payload[:16], nil }
	for i := range 2 {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: 4, Handlers: map[string]worker.Handler{"half": half}})
	}
	cl := c.Client()
	ctx := context.Background()
	const n, batch, streams = 100_000, 1000, 16
	for b.Loop() {
		start := time.Now()
		var wg sync.WaitGroup
		for s := range streams {
			wg.Go(func() {
				for k := s * batch; k < n; k += streams * batch {
					job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "half"}, Payloads: func(yield func([]byte) bool) {
						for i := range batch {
							if !yield(fmt.Appendf(nil, "%064d", k+i)) {
								return
							}
						}
					}})
					assert.NoError(b, err)
					got := 0
					for _, err := range job.AsCompleted(ctx) {
						assert.NoError(b, err)
						got++
					}
					assert.Equal(b, batch, got)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(n/time.Since(start).Seconds(), "tasks/s")
	}
}

// BenchmarkSingle runs one task at a time, from submit to its result.
func BenchmarkSingle(b *testing.B) {
	c := testcluster.Start(b, 3, nil)
	noop := func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }
	c.Worker(worker.Config{Name: "w", Slots: 4, Handlers: map[string]worker.Handler{"noop": noop}})
	cl := c.Client()
	ctx := context.Background()
	for b.Loop() {
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "noop"}})
		require.NoError(b, err)
		for _, err := range job.AsCompleted(ctx) {
			require.NoError(b, err)
		}
	}
}

// BenchmarkRun is BenchmarkSingle by one call.
func BenchmarkRun(b *testing.B) {
	c := testcluster.Start(b, 3, nil)
	noop := func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }
	c.Worker(worker.Config{Name: "w", Slots: 4, Handlers: map[string]worker.Handler{"noop": noop}})
	cl := c.Client()
	for b.Loop() {
		_, err := cl.Run(context.Background(), task.Spec{Handler: "noop"}, nil)
		require.NoError(b, err)
	}
}

// BenchmarkClients64 runs single tasks from 64 goroutines that share a client.
func BenchmarkClients64(b *testing.B) {
	c := testcluster.Start(b, 3, nil)
	noop := func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }
	for i := range 2 {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: 4, Handlers: map[string]worker.Handler{"noop": noop}})
	}
	cl := c.Client()
	const callers = 64
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				r, err := cl.Run(context.Background(), task.Spec{Handler: "noop"}, []byte("x"))
				assert.NoError(b, err)
				assert.Equal(b, task.Succeeded, r.State)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
