package transport_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/wire"
)

// A request key makes many submits one job. Each of them could be followed, with a watcher of its own.
func TestAJobIsFollowedOnceOnAStream(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	jobs := rotav1.NewJobServiceClient(conn)
	stream, err := jobs.SubmitStream(ctx)
	require.NoError(t, err)
	const follows = 3
	m := &rotav1.SubmitStreamRequest{}
	for seq := range uint64(follows) {
		spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "nobody's"}}}
		m.Submits = append(m.Submits, &rotav1.SubmitItem{
			Seq: seq + 1, Follow: true, Request: &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}, RequestKey: "one"},
		})
	}
	require.NoError(t, stream.Send(m))
	lost, job := map[uint64]bool{}, uint64(0)
	for len(lost) < follows-1 {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAnswers() {
			require.Zero(t, a.GetCode(), a.GetMessage())
			job = a.GetResponse().GetJobId()
		}
		for _, r := range m.GetResults() {
			require.True(t, r.GetLost())
			lost[r.GetSeq()] = true
		}
	}
	require.NotContains(t, lost, uint64(1), "the first one follows it")
	_, err = jobs.CancelJob(ctx, &rotav1.CancelJobRequest{JobId: job})
	require.NoError(t, err)
	for complete := false; !complete; {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, r := range m.GetResults() {
			require.Equal(t, uint64(1), r.GetSeq())
			complete = r.GetComplete()
		}
	}
}

func TestWhatAllStreamsFollowIsBounded(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	f := transport.NewFollowing(c.Servers[0].Node, 3, 2)
	require.True(t, f.Follow(0, 1))
	require.False(t, f.Follow(0, 1), "once on each stream")
	require.True(t, f.Follow(1, 1))
	require.True(t, f.Follow(0, 2))
	require.False(t, f.Follow(1, 3), "there is no room")
	f.End(0)
	require.False(t, f.Follow(0, 4), "its client is gone")
	require.True(t, f.Follow(1, 3))
	f.End(1)
	require.Zero(t, f.Count())
	require.Zero(t, c.Servers[0].Node.State().Watchers().Watched())
}
