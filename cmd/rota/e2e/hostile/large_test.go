package hostile

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// TestLargeRequestsAllAtOnceAreBounded sends as many of the largest requests as connections take, to the leader and to
// a follower, which forwards them. It also sends retries, each of which makes such a request.
func TestLargeRequestsAllAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	const calls, tasks = 300, 15
	ctx, cancel := context.WithTimeout(t.Context(), 3*within)
	defer cancel()
	payload := make([]byte, task.MaxPayload)
	set := &rotav1.TaskSet{Count: tasks}
	var payloads [][]byte
	for range tasks {
		set.PackedPayloads = task.PackAppend(set.PackedPayloads, payload)
		payloads = append(payloads, payload)
	}
	// No worker has the handler, so the job can be cancelled at once, and then be retried.
	job, err := h.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "nobody's"}, Payloads: client.Payloads(payloads...)})
	require.NoError(t, err)
	_, err = job.Cancel(ctx)
	require.NoError(t, err)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "rota.noop"}}}
	leader := h.Leader()
	var all sync.WaitGroup
	for i := range calls {
		jobs := rotav1.NewJobServiceClient(h.Dial((leader + i%2) % servers))
		all.Go(func() {
			// The server refuses most of them: it has no room.
			if i%3 == 0 {
				_, _ = jobs.RetryJob(ctx, &rotav1.RetryJobRequest{JobId: job.ID(), All: true})
			} else {
				_, _ = jobs.Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: set})
			}
		})
	}
	all.Wait()
	h.Served(20)
}
