package transport_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/wire"
)

// To find what a worker must stop, the leader goes through everything that the worker holds. It does not do that for
// each beat of a worker that beats in a loop.
func TestBeatsInALoopAreAnsweredWithoutALookAtWhatIsHeld(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, func(cfg *node.Config) { cfg.LeaseTimeout = 24 * time.Hour })
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	stream, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	send := func(m *rotav1.SessionRequest) { require.NoError(t, stream.Send(m)) }
	send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: &rotav1.Hello{WorkerId: "w", BootNonce: []byte("1"), Slots: 1, Handlers: []string{"h"}}}})
	until := func(wanted func(m *rotav1.SessionResponse) bool) *rotav1.SessionResponse {
		for {
			m, err := stream.Recv()
			require.NoError(t, err)
			if wanted(m) {
				return m
			}
		}
	}
	until(func(m *rotav1.SessionResponse) bool { return m.GetWelcome() != nil })
	jobs := rotav1.NewJobServiceClient(conn)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}}
	job, err := jobs.Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}})
	require.NoError(t, err)
	until(func(m *rotav1.SessionResponse) bool { return m.GetAssignments() != nil })
	_, err = jobs.CancelJob(ctx, &rotav1.CancelJobRequest{JobId: job.GetJobId()})
	require.NoError(t, err)
	until(func(m *rotav1.SessionResponse) bool { return m.GetStop() != nil })
	beat := func(seq uint64) *rotav1.BeatAnswer {
		send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Seq: seq}}})
		return until(func(m *rotav1.SessionResponse) bool { return m.GetBeatAnswer().GetSeq() == seq }).GetBeatAnswer()
	}
	require.Len(t, beat(1).GetStop(), 1)
	for seq := uint64(2); seq < 10; seq++ {
		require.Empty(t, beat(seq).GetStop())
	}
}
