package hostile

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// A job of ten million tasks takes 40 bytes to submit, and 10 to cancel. Its pages once took 320 KiB of memory, and
// 320 MiB when it was cancelled.
func TestLargeJobsThatAreCancelledCostLittle(t *testing.T) {
	t.Parallel()
	h := start(t)
	const jobs = 12
	stream, err := rotav1.NewJobServiceClient(h.Dial(h.Leader())).SubmitStream(t.Context())
	require.NoError(t, err)
	m := &rotav1.SubmitStreamRequest{}
	for i := range jobs {
		spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "hostile.nobody"}}}
		m.Submits = append(m.Submits, &rotav1.SubmitItem{Seq: uint64(i), Request: &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: task.MaxTasks}}})
	}
	require.NoError(t, stream.Send(m))
	var ids []uint64
	for len(ids) < jobs {
		answers, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range answers.GetAnswers() {
			require.Empty(t, a.GetMessage())
			ids = append(ids, a.GetResponse().GetJobId())
		}
	}
	h.cancelAtOnce(ids)
	h.Served(20)
}
