package hostile

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// submitLarge submits jobs with as many tasks as a job may have. No worker runs them.
func (h *harness) submitLarge(jobs int) (ids []uint64) {
	h.t.Helper()
	stream, err := rotav1.NewJobServiceClient(h.Dial(h.Leader())).SubmitStream(h.t.Context())
	require.NoError(h.t, err)
	m := &rotav1.SubmitStreamRequest{}
	for i := range jobs {
		spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "hostile.nobody"}}}
		m.Submits = append(m.Submits, &rotav1.SubmitItem{Seq: uint64(i), Request: &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: task.MaxTasks}}})
	}
	require.NoError(h.t, stream.Send(m))
	for len(ids) < jobs {
		answers, err := stream.Recv()
		require.NoError(h.t, err)
		for _, a := range answers.GetAnswers() {
			require.Empty(h.t, a.GetMessage())
			ids = append(ids, a.GetResponse().GetJobId())
		}
	}
	return ids
}

// cancelSideBySide cancels jobs, or a task of each, and returns how many cancels were accepted.
func (h *harness) cancelSideBySide(ctx context.Context, ids []uint64, index *uint32) (cancelled int) {
	const atOnce = 64
	client := rotav1.NewJobServiceClient(h.Dial(h.Leader()))
	var counts [atOnce]int
	var parts errgroup
	for k := range atOnce {
		parts.run(func() error {
			for i := k; i < len(ids); i += atOnce {
				if _, err := client.CancelJob(ctx, &rotav1.CancelJobRequest{JobId: ids[i], TaskIndex: index}); err == nil {
					counts[k]++
				}
			}
			return nil
		})
	}
	_ = parts.wait() // the parts return no errors
	for _, n := range counts {
		cancelled += n
	}
	return cancelled
}

// A request of 15 bytes cancels the last of ten million tasks. That once took 312 KiB on every server, for the
// entries of the forty thousand pages before it.
func TestTasksFarOutTakeLittle(t *testing.T) {
	t.Parallel()
	h := start(t)
	ids := h.submitLarge(4000)
	require.Equal(t, len(ids), h.cancelSideBySide(t.Context(), ids, proto.Uint32(task.MaxTasks-1)))
	h.Served(20)
}

// A large job takes 50 bytes to submit and to cancel, and 40,000 pages to write. Hundreds of them once kept the disk
// busy for minutes, and nobody else could submit.
func TestHundredsOfLargeJobsThatAreCancelledLeaveTimeForOthers(t *testing.T) {
	t.Parallel()
	h := start(t)
	ids := h.submitLarge(300)
	t.Logf("%d are being cancelled", h.cancelSideBySide(t.Context(), ids, nil))
	h.Served(60)
}
