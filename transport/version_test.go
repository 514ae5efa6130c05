package transport_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// ofTheFuture gives a message a field that no build knows.
func ofTheFuture[M proto.Message](m M) M {
	m.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1))
	return m
}

// A newer client that asks for what this server does not know must not be told that it has got it.
func TestWhatANewerClientAsksForIsRefusedAndNotDropped(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	conn, err := wire.Dial(c.Servers[c.Leader()].Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	jobs := rotav1.NewJobServiceClient(conn)
	submit := func() *rotav1.SubmitRequest {
		return &rotav1.SubmitRequest{Spec: &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}}, Tasks: &rotav1.TaskSet{Count: 1}, Open: true}
	}
	known, err := jobs.Submit(t.Context(), submit())
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"of the request": func() error { _, err := jobs.Submit(t.Context(), ofTheFuture(submit())); return err },
		"of the spec": func() error {
			r := submit()
			ofTheFuture(r.Spec)
			_, err := jobs.Submit(t.Context(), r)
			return err
		},
		"of the work": func() error {
			r := submit()
			ofTheFuture(r.Spec.GetHandler())
			_, err := jobs.Submit(t.Context(), r)
			return err
		},
		"of the tasks": func() error {
			r := submit()
			ofTheFuture(r.Tasks)
			_, err := jobs.Submit(t.Context(), r)
			return err
		},
		"of an append": func() error {
			_, err := jobs.AppendTasks(t.Context(), ofTheFuture(&rotav1.AppendTasksRequest{JobId: known.JobId, FirstIndex: 1, Tasks: &rotav1.TaskSet{Count: 1}}))
			return err
		},
		"of a close": func() error {
			_, err := jobs.CloseTasks(t.Context(), ofTheFuture(&rotav1.CloseTasksRequest{JobId: known.JobId, Total: 1}))
			return err
		},
		"of a cancel": func() error {
			_, err := jobs.CancelJob(t.Context(), ofTheFuture(&rotav1.CancelJobRequest{JobId: known.JobId}))
			return err
		},
		"of a retry": func() error {
			_, err := jobs.RetryJob(t.Context(), ofTheFuture(&rotav1.RetryJobRequest{JobId: known.JobId}))
			return err
		},
		"of a stream's item": func() error {
			stream, err := jobs.SubmitStream(t.Context())
			require.NoError(t, err)
			require.NoError(t, stream.Send(&rotav1.SubmitStreamRequest{Submits: []*rotav1.SubmitItem{ofTheFuture(&rotav1.SubmitItem{Seq: 1, Request: submit()})}}))
			got, err := stream.Recv()
			require.NoError(t, err)
			require.Len(t, got.Answers, 1)
			return &task.Error{Kind: task.Kind(got.Answers[0].Error.GetKind()), Msg: got.Answers[0].Message}
		},
		"of a stream's message": func() error {
			stream, err := jobs.SubmitStream(t.Context())
			require.NoError(t, err)
			require.NoError(t, stream.Send(ofTheFuture(&rotav1.SubmitStreamRequest{Submits: []*rotav1.SubmitItem{{Seq: 1, Request: submit()}}})))
			_, err = stream.Recv()
			return err
		},
		// A filter that is dropped gives jobs that nobody asked for: they may be cancelled next.
		"of a filter": func() error { _, err := jobs.ListJobs(t.Context(), ofTheFuture(&rotav1.ListJobsRequest{})); return err },
		"of a list of workers": func() error {
			_, err := rotav1.NewWorkerServiceClient(conn).ListWorkers(t.Context(), ofTheFuture(&rotav1.ListWorkersRequest{}))
			return err
		},
		"of how fresh a read is": func() error {
			_, err := jobs.GetJob(t.Context(), &rotav1.GetJobRequest{JobId: known.JobId, Read: ofTheFuture(&rotav1.ReadOptions{})})
			return err
		},
		"of a wait": func() error {
			_, err := jobs.WaitJob(t.Context(), ofTheFuture(&rotav1.WaitJobRequest{JobId: known.JobId, Wait: durationpb.New(0)}))
			return err
		},
		"of a stream of results": func() error {
			stream, err := jobs.StreamResults(t.Context(), ofTheFuture(&rotav1.StreamResultsRequest{JobId: known.JobId, NoWait: true}))
			require.NoError(t, err)
			_, err = stream.Recv()
			return err
		},
		"of a transfer": func() error {
			_, err := rotav1.NewClusterServiceClient(conn).TransferLeader(t.Context(), ofTheFuture(&rotav1.TransferLeaderRequest{}))
			return err
		},
	} {
		err := wire.FromStatus(call())
		require.ErrorIs(t, err, task.ErrUnsupported, name)
		require.ErrorContains(t, err, "upgrade all servers", name)
	}
	job, err := jobs.GetJob(t.Context(), &rotav1.GetJobRequest{JobId: known.JobId})
	require.NoError(t, err)
	require.EqualValues(t, 1, job.Job.Tasks.Total)
	require.Zero(t, job.Job.Tasks.Cancelled)
	list, err := jobs.ListJobs(t.Context(), &rotav1.ListJobsRequest{})
	require.NoError(t, err)
	require.Len(t, list.Jobs, 1)
	// An operator who upgrades a cluster asks for its status, perhaps with a newer program.
	_, err = rotav1.NewClusterServiceClient(conn).Status(t.Context(), ofTheFuture(&rotav1.StatusRequest{}))
	require.NoError(t, err)
}

// One that is too old would stop at the next entry.
func TestAServerThatKnowsLessThanTheActiveVersionDoesNotJoin(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, calm)
	join := joins(t, c)
	s := newStranger(t, "old", "id")
	s.is.Knows = fsm.GateVersion - 1
	err := join(s.request())
	require.ErrorIs(t, err, task.ErrUnsupported)
	require.ErrorContains(t, err, "start it with a newer build")
	// Nor does it help to claim another version than it answers when it is asked back.
	r := s.request()
	r.Knows = fsm.Version
	require.ErrorIs(t, join(r), task.ErrUnsupported)
	s.is.Knows = fsm.Version
	require.Eventually(t, func() bool { return join(s.request()) == nil }, testcluster.Wait, 10*time.Millisecond)
}

func TestStatusShowsTheActiveVersionAndWhatEachServerKnows(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	info, err := c.Client().Status(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, fsm.GateVersion, info.ActiveVersion)
	require.EqualValues(t, fsm.Version, info.Servers[0].KnowsVersion)
}
