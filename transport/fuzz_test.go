package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// target is a server of its own, and a connection to it.
type target struct {
	node *node.Node
	conn *grpc.ClientConn
}

func newTarget(f *testing.F) *target {
	c := testcluster.Start(f, 1, func(cfg *node.Config) { cfg.Stores = raft.NewInmemStore() })
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, conn.Close()) })
	return &target{c.Servers[0].Node, conn}
}

// fuzzPatience bounds one call: some of what is asked for never comes.
const fuzzPatience = 200 * time.Millisecond

// requireAnswer requires that an error is one that a client can act on.
func requireAnswer(t *testing.T, what proto.Message, err error) {
	t.Helper()
	if err == nil || errors.Is(err, io.EOF) {
		return
	}
	require.Contains(t, []codes.Code{
		codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Unavailable, codes.Canceled,
	}, status.Code(err), "%T %v: %v", what, what, err)
}

// tidy requires that the server is well, and forgets all that was made.
func (s *target) tidy(t *testing.T) {
	t.Helper()
	m := s.node.State().Machine()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	require.NoError(t, s.node.Barrier(ctx), "the server serves")
	require.Empty(t, m.CheckInvariants())
	for _, session := range m.Sessions() {
		s.propose(ctx, t, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: session.Id}}})
	}
	collect := &logpb.Collect{OverBudget: true}
	for _, rec := range m.JobsBelow(0, 1000) {
		if rec.FinishedNs == 0 {
			s.propose(ctx, t, &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: rec.Id, Reason: uint32(task.ReasonUser)}}})
		}
		collect.Jobs = append(collect.Jobs, rec.Id)
	}
	s.propose(ctx, t, &logpb.Op{Op: &logpb.Op_Collect{Collect: collect}})
	require.Empty(t, m.CheckInvariants())
}

func (s *target) propose(ctx context.Context, t *testing.T, op *logpb.Op) {
	t.Helper()
	// A session, or a job, may have ended by itself meanwhile.
	if _, err := s.node.Propose(ctx, op); err != nil {
		require.Contains(t, []task.Kind{task.KindNotFound, task.KindConflict}, task.KindOf(err), "%v", err)
	}
}

// submitted makes a job of a few tasks, for others to refer to.
func (s *target) submitted(t *testing.T, r *rotav1.SubmitRequest) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
	defer cancel()
	res, err := rotav1.NewJobServiceClient(s.conn).Submit(ctx, r)
	require.NoError(t, err)
	return res.GetJobId()
}

func handlerSpec() *rotav1.JobSpec {
	return &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}}
}

// calls is the unary methods that anybody may call, except those that change who votes.
var calls = []struct {
	method string
	in     func() proto.Message
	out    func() proto.Message
}{
	{rotav1.JobService_Submit_FullMethodName, func() proto.Message { return &rotav1.SubmitRequest{} }, func() proto.Message { return &rotav1.SubmitResponse{} }},
	{rotav1.JobService_AppendTasks_FullMethodName, func() proto.Message { return &rotav1.AppendTasksRequest{} }, func() proto.Message { return &rotav1.AppendTasksResponse{} }},
	{rotav1.JobService_CloseTasks_FullMethodName, func() proto.Message { return &rotav1.CloseTasksRequest{} }, func() proto.Message { return &rotav1.CloseTasksResponse{} }},
	{rotav1.JobService_GetJob_FullMethodName, func() proto.Message { return &rotav1.GetJobRequest{} }, func() proto.Message { return &rotav1.GetJobResponse{} }},
	{rotav1.JobService_ListJobs_FullMethodName, func() proto.Message { return &rotav1.ListJobsRequest{} }, func() proto.Message { return &rotav1.ListJobsResponse{} }},
	{rotav1.JobService_WaitJob_FullMethodName, func() proto.Message { return &rotav1.WaitJobRequest{} }, func() proto.Message { return &rotav1.WaitJobResponse{} }},
	{rotav1.JobService_CancelJob_FullMethodName, func() proto.Message { return &rotav1.CancelJobRequest{} }, func() proto.Message { return &rotav1.CancelJobResponse{} }},
	{rotav1.JobService_RetryJob_FullMethodName, func() proto.Message { return &rotav1.RetryJobRequest{} }, func() proto.Message { return &rotav1.RetryJobResponse{} }},
	{rotav1.WorkerService_ListWorkers_FullMethodName, func() proto.Message { return &rotav1.ListWorkersRequest{} }, func() proto.Message { return &rotav1.ListWorkersResponse{} }},
	{rotav1.ClusterService_TransferLeader_FullMethodName, func() proto.Message { return &rotav1.TransferLeaderRequest{} }, func() proto.Message { return &rotav1.TransferLeaderResponse{} }},
	{rotav1.ClusterService_Verify_FullMethodName, func() proto.Message { return &rotav1.VerifyRequest{} }, func() proto.Message { return &rotav1.VerifyResponse{} }},
	{peerpb.PeerService_ReadIndex_FullMethodName, func() proto.Message { return &peerpb.ReadIndexRequest{} }, func() proto.Message { return &peerpb.ReadIndexResponse{} }},
	{peerpb.PeerService_Digest_FullMethodName, func() proto.Message { return &peerpb.DigestRequest{} }, func() proto.Message { return &peerpb.DigestResponse{} }},
	{rotav1.JobService_StreamResults_FullMethodName, func() proto.Message { return &rotav1.StreamResultsRequest{} }, func() proto.Message { return &rotav1.StreamResultsResponse{} }},
	{rotav1.JobService_ListAppends_FullMethodName, func() proto.Message { return &rotav1.ListAppendsRequest{} }, func() proto.Message { return &rotav1.ListAppendsResponse{} }},
}

// script is calls one after the other, as FuzzCalls takes them: the place of the method, the
// length of the request, and the request.
func script(f *testing.F, requests ...proto.Message) (out []byte) {
	for _, r := range requests {
		for i, c := range calls {
			if c.in().ProtoReflect().Descriptor() == r.ProtoReflect().Descriptor() {
				data, err := proto.Marshal(r)
				require.NoError(f, err)
				out = append(binary.AppendUvarint(append(out, byte(i)), uint64(len(data))), data...)
			}
		}
	}
	return out
}

// nearby makes requests refer to jobs that exist: a job number below 16 counts from the first job of this input.
func nearby(m proto.Message, first uint64) {
	fields := m.ProtoReflect().Descriptor().Fields()
	if job := fields.ByName("job_id"); job != nil {
		r := m.ProtoReflect()
		if id := r.Get(job).Uint(); id > 0 && id < 16 {
			r.Set(job, protoreflect.ValueOfUint64(first+id-1))
		}
	}
}

// FuzzCalls: whatever clients and peers ask for, and in whatever order, they get an answer or an
// error with a kind, and the server is well.
func FuzzCalls(f *testing.F) {
	none, zero := &rotav1.TaskSet{}, uint32(0)
	three := &rotav1.TaskSet{Count: 3, PackedPayloads: task.PackAppend(task.PackAppend(task.PackAppend(nil, []byte("a")), nil), []byte("c"))}
	serial := handlerSpec()
	serial.Execution = rotav1.Execution_EXECUTION_SERIAL
	f.Add(script(f,
		&rotav1.SubmitRequest{Spec: serial, Tasks: three, RequestKey: "k"}, &rotav1.SubmitRequest{Spec: handlerSpec(), Tasks: three, RequestKey: "k"},
		&rotav1.GetJobRequest{JobId: 1, TaskIndex: &zero}, &rotav1.StreamResultsRequest{JobId: 1, Cursor: []byte{1, 1, 0, 0, 0, 9}, NoWait: true},
		&rotav1.CancelJobRequest{JobId: 1, TaskIndex: &zero}, &rotav1.CancelJobRequest{JobId: 1}, &rotav1.RetryJobRequest{JobId: 1, All: true},
		&rotav1.StreamResultsRequest{JobId: 1, Order: rotav1.ResultOrder_RESULT_ORDER_INDEX, Cursor: []byte{1, 2, 255, 255, 255, 255}},
	))
	f.Add(script(f,
		&rotav1.SubmitRequest{Spec: handlerSpec(), Open: true, Hold: true}, &rotav1.AppendTasksRequest{JobId: 1, Tasks: three},
		&rotav1.AppendTasksRequest{JobId: 1, Tasks: none}, &rotav1.ListAppendsRequest{JobId: 1, FirstIndex: 1, PageSize: 1 << 31}, &rotav1.AppendTasksRequest{JobId: 1, FirstIndex: 1 << 31, Tasks: three},
		&rotav1.CloseTasksRequest{JobId: 1, Total: 4}, &rotav1.CloseTasksRequest{JobId: 1, Total: 3}, &rotav1.WaitJobRequest{JobId: 1},
	))
	f.Add(script(f, &rotav1.SubmitRequest{}, &rotav1.ListJobsRequest{}, &rotav1.ListWorkersRequest{}, &rotav1.VerifyRequest{},
		&rotav1.TransferLeaderRequest{To: "n2"}, &peerpb.ReadIndexRequest{}, &peerpb.DigestRequest{Checkpoint: 1}, &rotav1.StreamResultsRequest{JobId: 1 << 63}))
	s := newTarget(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		first := s.submitted(t, &rotav1.SubmitRequest{Spec: handlerSpec(), Tasks: &rotav1.TaskSet{Count: 1}}) + 1
		const most = 12 // calls of one input
		for range most {
			if len(data) == 0 {
				break
			}
			call := calls[int(data[0])%len(calls)]
			n, k := binary.Uvarint(data[1:])
			if k <= 0 || n > uint64(len(data)-1-k) {
				break
			}
			in := call.in()
			if proto.Unmarshal(data[1+k:1+k+int(n)], in) == nil {
				nearby(in, first)
				ctx, cancel := context.WithTimeout(t.Context(), fuzzPatience)
				requireAnswer(t, in, s.call(ctx, call.method, in, call.out()))
				cancel()
			}
			data = data[1+k+int(n):]
		}
		s.tidy(t)
	})
}

// call makes a call whose answer is one message, or a stream of them.
func (s *target) call(ctx context.Context, method string, in, out proto.Message) error {
	if method != rotav1.JobService_StreamResults_FullMethodName {
		return s.conn.Invoke(ctx, method, in, out)
	}
	stream, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.SendMsg(in), stream.CloseSend()); err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(out); err != nil {
			return err
		}
	}
}

// requests is messages of a worker one after the other, as FuzzSession takes them.
func requests(f *testing.F, messages ...*rotav1.SessionRequest) (out []byte) {
	for _, m := range messages {
		data, err := proto.Marshal(m)
		require.NoError(f, err)
		out = append(binary.AppendUvarint(out, uint64(len(data))), data...)
	}
	return out
}

func reportsOf(groups ...*rotav1.ReportGroup) *rotav1.SessionRequest {
	return &rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: &rotav1.Reports{Seq: 1, Groups: groups}}}
}

// FuzzSession: whatever a worker says after its hello, the server is well, and no other worker's request suffers
// from it.
func FuzzSession(f *testing.F) {
	one := []*rotav1.IndexRange{{First: 0, Count: 1}}
	success := &rotav1.ReportGroup{JobId: 1, Ranges: one, Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, PackedOutputs: task.PackAppend(nil, []byte("out")), RunNs: 5}
	long := &rotav1.ReportGroup{JobId: 1, Ranges: one, Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_ERROR, Error: "x" + strings.Repeat("é", task.MaxError)}
	exit := int32(1<<31 - 1)
	odd := &rotav1.ReportGroup{JobId: 1, Ranges: []*rotav1.IndexRange{{First: 1, Count: 1 << 31}, {First: 2, Count: 1}, nil}, Outcome: 9, ExitCode: &exit, TokenOffset: -1 << 63}
	beat := &rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Seq: 1, Exclusive: true, Running: []*rotav1.RunningTask{{JobId: 1}, nil}}}}
	goodbye := &rotav1.SessionRequest{Message: &rotav1.SessionRequest_Goodbye{Goodbye: &rotav1.Goodbye{}}}
	f.Add(requests(f, beat, reportsOf(success), reportsOf(success), goodbye, beat))
	f.Add(requests(f, reportsOf(long), beat))
	f.Add(requests(f, reportsOf(odd, nil), reportsOf()))
	f.Add(requests(f, &rotav1.SessionRequest{}, beat))
	f.Add(requests(f, &rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: &rotav1.Hello{}}}))
	s := newTarget(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
		defer cancel()
		stream, err := rotav1.NewWorkerServiceClient(s.conn).Session(ctx)
		require.NoError(t, err)
		hello := &rotav1.Hello{WorkerId: "w", BootNonce: []byte("1"), Slots: 4, Handlers: []string{"h"}}
		require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
		welcome, err := stream.Recv()
		require.NoError(t, err)
		require.NotNil(t, welcome.GetWelcome())
		job := s.submitted(t, &rotav1.SubmitRequest{Spec: handlerSpec(), Tasks: &rotav1.TaskSet{Count: 6}})
		given, err := stream.Recv()
		require.NoError(t, err)
		offset := given.GetAssignments().GetAssignments()[0].GetTokenOffset()
		for len(data) > 0 {
			n, k := binary.Uvarint(data)
			if k <= 0 || n > uint64(len(data)-k) {
				break
			}
			m := &rotav1.SessionRequest{}
			if proto.Unmarshal(data[k:k+int(n)], m) == nil {
				ofThisJob(m, job, offset)
				if stream.Send(m) != nil {
					break // Recv says why
				}
			}
			data = data[k+int(n):]
		}
		// What it has sent is taken or refused before another's request is answered.
		require.NoError(t, stream.CloseSend())
		for err == nil {
			_, err = stream.Recv()
		}
		// Nothing but what it says itself may end the stream: what was taken is recorded.
		if !errors.Is(err, io.EOF) {
			require.Contains(t, []codes.Code{codes.InvalidArgument}, status.Code(err), "%v", err)
		}
		s.submitted(t, &rotav1.SubmitRequest{Spec: handlerSpec(), Tasks: &rotav1.TaskSet{Count: 1}})
		s.tidy(t)
	})
}

// ofThisJob makes reports refer to what was granted: job 1 is the job, and offsets count from that of its grant.
func ofThisJob(m *rotav1.SessionRequest, job uint64, offset int64) {
	for _, g := range m.GetReports().GetGroups() {
		if g.GetJobId() == 1 {
			g.JobId, g.TokenOffset = job, g.TokenOffset+offset
		}
	}
}

// FuzzHello: whatever a worker says of itself, it is welcomed or refused.
func FuzzHello(f *testing.F) {
	for _, h := range []*rotav1.Hello{
		{}, {WorkerId: "w", BootNonce: []byte("1"), Slots: 1}, {WorkerId: "w", BootNonce: make([]byte, 65), Slots: 1}, {WorkerId: "\x00", BootNonce: []byte("1"), Slots: 1},
		{WorkerId: "w", BootNonce: []byte("1"), Slots: 1 << 31}, {WorkerId: "w", BootNonce: []byte("1"), Slots: 1, Term: 1 << 63},
		{
			WorkerId: "w", Name: "n", BootNonce: []byte("1"), Slots: 1, Labels: map[string]string{"": "a"}, Handlers: []string{"h", ""}, Queues: []string{"q"},
			Held: []*rotav1.HeldTasks{{JobId: 1, TokenOffset: 1 << 62, Ranges: []*rotav1.IndexRange{{First: 1 << 31, Count: 1 << 31}}}, nil},
		},
	} {
		data, err := proto.Marshal(h)
		require.NoError(f, err)
		f.Add(data)
	}
	s := newTarget(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		hello := &rotav1.Hello{}
		if proto.Unmarshal(data, hello) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), testcluster.Wait)
		defer cancel()
		for range 2 { // the second time it attaches
			stream, err := rotav1.NewWorkerServiceClient(s.conn).Session(ctx)
			require.NoError(t, err)
			err = errors.Join(stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}), stream.CloseSend())
			for err == nil {
				_, err = stream.Recv()
			}
			requireAnswer(t, hello, err)
		}
		s.tidy(t)
	})
}
