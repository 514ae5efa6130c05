package hostile

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// TestListsCostWhatTheyShow has two dozen clients list one job again and again. There are many jobs with large
// payloads, and that must make no difference.
func TestListsCostWhatTheyShow(t *testing.T) {
	t.Parallel()
	h := start(t)
	const jobs, lists, rounds = 600, 24, 10
	cl := h.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 3*within)
	defer cancel()
	payload := make([]byte, task.MaxPayload)
	for i := range jobs {
		copy(payload, fmt.Sprint(i))
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "rota.noop", SharedPayload: payload}, Count: 1})
		require.NoError(t, err)
	}
	leader := rotav1.NewJobServiceClient(h.Dial(h.Leader()))
	var all sync.WaitGroup
	for range lists {
		all.Go(func() {
			for range rounds {
				if _, err := leader.ListJobs(ctx, &rotav1.ListJobsRequest{PageSize: 1}); err != nil {
					t.Errorf("list jobs: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	h.Served(20)
}

// TestLargeJobsAndWorkersCanBeListed lists large jobs and workers. Polite clients read these lists too, all the
// time.
func TestLargeJobsAndWorkersCanBeListed(t *testing.T) {
	t.Parallel()
	h := start(t)
	const jobs, workers, queues = 60, 100, 30_000
	cl := h.Client()
	ctx, cancel := context.WithTimeout(t.Context(), 3*within)
	defer cancel()
	spec := task.Spec{Queue: "nobody's", Command: []string{"c", strings.Repeat("a", task.MaxArgBytes-1)}}
	for i := range task.MaxPairs {
		spec.Meta = append(spec.Meta, task.Pair{Key: fmt.Sprintf("%03d", i), Value: strings.Repeat("v", task.MaxPairBytes/task.MaxPairs-3)})
	}
	spec.Env, spec.Require = spec.Meta, spec.Meta
	for range jobs {
		_, err := cl.Submit(ctx, client.Request{Spec: spec, Count: 1})
		require.NoError(t, err)
	}
	services := rotav1.NewWorkerServiceClient(h.Dial(h.Leader()))
	for i := range workers {
		stream, err := services.Session(ctx)
		require.NoError(t, err)
		hello := &rotav1.Hello{WorkerId: fmt.Sprint("hostile ", i), BootNonce: []byte("n"), Slots: 1}
		for q := range queues {
			hello.Queues = append(hello.Queues, fmt.Sprintf("%0200d", q))
		}
		require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
		if _, err := stream.Recv(); err != nil {
			break // as it should be
		}
	}
	h.Served(20)
	seen := 0
	for info, err := range cl.List(ctx, client.ListOptions{Queue: spec.Queue}) {
		require.NoError(t, err)
		require.Equal(t, spec.Meta, info.Spec.Meta)
		seen++
	}
	require.Equal(t, jobs, seen)
	_, err := cl.Workers(ctx, client.WorkersOptions{})
	require.NoError(t, err)
}
