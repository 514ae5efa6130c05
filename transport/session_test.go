package transport_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// dialServer starts a server, and returns a connection to it, for those who speak to it by hand.
func dialServer(t *testing.T) (context.Context, *testcluster.Cluster, *grpc.ClientConn) {
	t.Helper()
	c := testcluster.Start(t, 1, nil)
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	t.Cleanup(cancel)
	return ctx, c, conn
}

// openSession says hello to the only server of a cluster, by hand.
func openSession(ctx context.Context, t *testing.T, conn *grpc.ClientConn) grpc.BidiStreamingClient[rotav1.SessionRequest, rotav1.SessionResponse] {
	t.Helper()
	stream, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	hello := &rotav1.Hello{WorkerId: "w", BootNonce: []byte("1"), Slots: 4, Handlers: []string{"h"}}
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
	welcome, err := stream.Recv()
	require.NoError(t, err)
	require.NotNil(t, welcome.GetWelcome())
	return stream
}

// The goodbye closes the session, which must not end the stream before it is answered.
func TestAGoodbyeIsAnswered(t *testing.T) {
	t.Parallel()
	ctx, _, conn := dialServer(t)
	for i := range 200 {
		stream := openSession(ctx, t, conn)
		if i%2 == 1 { // its answer waits for a barrier, and may find the session closed by then
			beat := &rotav1.Beat{Seq: 1, Exclusive: true}
			require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: beat}}))
		}
		require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Goodbye{Goodbye: &rotav1.Goodbye{}}}))
		answer, err := stream.Recv()
		require.NoError(t, err)
		if answer.GetBeatAnswer() != nil {
			answer, err = stream.Recv()
			require.NoError(t, err)
		}
		require.NotNil(t, answer.GetGoodbyeAnswer())
		for err == nil {
			_, err = stream.Recv()
		}
		require.ErrorIs(t, err, io.EOF)
	}
}

// An error that is too long is cut, but not within a character: invalid UTF-8 cannot be written, and the report
// would be sent again for ever.
func TestALongErrorIsRecorded(t *testing.T) {
	t.Parallel()
	ctx, _, conn := dialServer(t)
	stream := openSession(ctx, t, conn)
	jobs := rotav1.NewJobServiceClient(conn)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 1}
	job, err := jobs.Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}})
	require.NoError(t, err)
	given, err := stream.Recv()
	require.NoError(t, err)
	group := &rotav1.ReportGroup{
		JobId: job.GetJobId(), TokenOffset: given.GetAssignments().GetAssignments()[0].GetTokenOffset(), Ranges: []*rotav1.IndexRange{{Count: 1}},
		Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_ERROR, Error: "x" + strings.Repeat("é", task.MaxError),
	}
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: &rotav1.Reports{Seq: 1, Groups: []*rotav1.ReportGroup{group}}}}))
	answer, err := stream.Recv()
	require.NoError(t, err)
	require.Empty(t, answer.GetReportsAnswer().GetExceptions())
	results, err := jobs.StreamResults(ctx, &rotav1.StreamResultsRequest{JobId: job.GetJobId()})
	require.NoError(t, err)
	got, err := results.Recv()
	require.NoError(t, err)
	text := got.GetGroups()[0].GetError()
	require.True(t, utf8.ValidString(text))
	require.Equal(t, task.MaxError-1, len(text))
	for err == nil {
		_, err = results.Recv()
	}
	require.True(t, errors.Is(err, io.EOF), "%v", err)
}

// A worker that comes back within its session gets only what it has lost, not what it still has: with payloads that
// would be most of what an overloaded leader sends.
func TestAWorkerThatComesBackIsSentWhatItLacksOnly(t *testing.T) {
	t.Parallel()
	ctx, _, conn := dialServer(t)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 1}
	first, leave := context.WithCancel(ctx)
	stream := openSession(first, t, conn)
	job, err := rotav1.NewJobServiceClient(conn).Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 4}})
	require.NoError(t, err)
	offset, given := int64(0), uint32(0)
	for given < 4 {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAssignments().GetAssignments() {
			offset, given = a.GetTokenOffset(), given+a.GetRange().GetCount()
		}
	}
	leave()

	stream, err = rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	held := &rotav1.HeldTasks{JobId: job.GetJobId(), TokenOffset: offset, Ranges: []*rotav1.IndexRange{{First: 0, Count: 1}, {First: 2, Count: 1}, {First: 9, Count: 1}}}
	hello := &rotav1.Hello{WorkerId: "w", BootNonce: []byte("1"), Slots: 4, Handlers: []string{"h"}, Held: []*rotav1.HeldTasks{held}}
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
	m, err := stream.Recv()
	require.NoError(t, err)
	drop := m.GetWelcome().GetDrop()
	require.Len(t, drop, 1)
	require.EqualValues(t, 9, drop[0].GetRanges()[0].GetFirst())
	var sent []uint32
	for len(sent) < 2 {
		m, err = stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAssignments().GetAssignments() {
			for i := range a.GetRange().GetCount() {
				sent = append(sent, a.GetRange().GetFirst()+i)
			}
		}
	}
	require.Equal(t, []uint32{1, 3}, sent)
}

// A worker can say of any task that it runs. A leader keeps that only for tasks that the worker holds: otherwise
// thousands of workers could name thousands of others each.
func TestOnlyWhatAWorkerHoldsIsSaidToRun(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	stream := openSession(ctx, t, conn)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}}
	job, err := rotav1.NewJobServiceClient(conn).Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1000}})
	require.NoError(t, err)
	given := map[uint32]bool{}
	for len(given) < 4 {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAssignments().GetAssignments() {
			for i := range a.GetRange().GetCount() {
				given[a.GetRange().GetFirst()+i] = true
			}
		}
	}
	beat := &rotav1.Beat{Seq: 1}
	for i := range uint32(1000) {
		beat.Running = append(beat.Running, &rotav1.RunningTask{JobId: job.GetJobId(), Index: i}, &rotav1.RunningTask{JobId: 1<<40 + uint64(i)})
	}
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: beat}}))
	for {
		m, err := stream.Recv()
		require.NoError(t, err)
		if m.GetBeatAnswer() != nil {
			break
		}
	}
	list, err := rotav1.NewWorkerServiceClient(conn).ListWorkers(ctx, &rotav1.ListWorkersRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetWorkers(), 1)
	require.Len(t, list.GetWorkers()[0].GetRunningTasks(), len(given))
	for _, r := range list.GetWorkers()[0].GetRunningTasks() {
		require.Equal(t, job.GetJobId(), r.GetJobId())
		require.True(t, given[r.GetIndex()])
	}
}
