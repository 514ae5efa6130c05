package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

type logsClient = grpc.BidiStreamingClient[rotav1.LogsRequest, rotav1.LogsResponse]

// logWorker is a worker that is spoken for by hand, with one task.
type logWorker struct {
	t       *testing.T
	ctx     context.Context
	c       *testcluster.Cluster
	session grpc.BidiStreamingClient[rotav1.SessionRequest, rotav1.SessionResponse]
	number  uint64
	job     uint64
	// offset is what makes the token of task 0.
	offset int64
}

// newLogWorker opens a session with the leader of a cluster.
func newLogWorker(t *testing.T, servers int, logs bool) *logWorker {
	t.Helper()
	c := testcluster.Start(t, servers, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	t.Cleanup(cancel)
	w := &logWorker{t: t, ctx: ctx, c: c}
	stream, err := rotav1.NewWorkerServiceClient(w.dial(c.Leader())).Session(ctx)
	require.NoError(t, err)
	w.session = stream
	hello := &rotav1.Hello{WorkerId: "w", Name: "w", BootNonce: []byte("n"), Slots: 4, Handlers: []string{"h"}, Logs: logs}
	w.tell(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}})
	w.number = w.next(func(m *rotav1.SessionResponse) bool { return m.GetWelcome() != nil }).GetWelcome().GetSessionId()
	return w
}

func (w *logWorker) dial(server int) *grpc.ClientConn {
	w.t.Helper()
	conn, err := wire.Dial(w.c.Addrs()[server])
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, conn.Close()) })
	return conn
}

func (w *logWorker) tell(m *rotav1.SessionRequest) {
	w.t.Helper()
	require.NoError(w.t, w.session.Send(m))
}

// next is the next message of the session that is wanted.
func (w *logWorker) next(wanted func(*rotav1.SessionResponse) bool) *rotav1.SessionResponse {
	w.t.Helper()
	for {
		m, err := w.session.Recv()
		require.NoError(w.t, err)
		if wanted(m) {
			return m
		}
	}
}

// submit submits a job with one task, and takes it.
func (w *logWorker) submit() {
	w.t.Helper()
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 3}
	job, err := rotav1.NewJobServiceClient(w.dial(w.c.Leader())).Submit(w.ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}})
	require.NoError(w.t, err)
	w.job = job.GetJobId()
	w.take()
}

// take waits until the task is assigned.
func (w *logWorker) take() {
	w.t.Helper()
	m := w.next(func(m *rotav1.SessionResponse) bool { return m.GetAssignments() != nil })
	w.offset = m.GetAssignments().GetAssignments()[0].GetTokenOffset()
}

// report ends the task as a group says.
func (w *logWorker) report(g *rotav1.ReportGroup) {
	w.t.Helper()
	g.JobId, g.TokenOffset, g.Ranges = w.job, w.offset, []*rotav1.IndexRange{{Count: 1}}
	w.tell(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Reports{Reports: &rotav1.Reports{Seq: uint64(w.offset), Groups: []*rotav1.ReportGroup{g}}}})
}

// called waits until the worker is called, and opens a stream of logs to the caller.
func (w *logWorker) called(server int) logsClient {
	w.t.Helper()
	m := w.next(func(m *rotav1.SessionResponse) bool { return m.GetCallLogs() != nil })
	require.Equal(w.t, w.c.Addrs()[server], m.GetCallLogs().GetAddr())
	stream, err := w.hello(server, &rotav1.LogsHello{WorkerId: "w", SessionId: w.number, BootNonce: []byte("n")})
	require.NoError(w.t, err)
	return stream
}

// hello opens a stream of logs to a server.
func (w *logWorker) hello(server int, h *rotav1.LogsHello) (logsClient, error) {
	w.t.Helper()
	stream, err := rotav1.NewWorkerServiceClient(w.dial(server)).Logs(w.ctx)
	require.NoError(w.t, err)
	require.NoError(w.t, stream.Send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Hello{Hello: h}}))
	m, err := stream.Recv()
	if err == nil {
		require.NotNil(w.t, m.GetWelcome())
	}
	return stream, wire.FromStatus(err)
}

func readOf(t *testing.T, stream logsClient) *rotav1.LogRead {
	t.Helper()
	m, err := stream.Recv()
	require.NoError(t, err)
	require.NotNil(t, m.GetRead(), "%v", m)
	return m.GetRead()
}

func sendLog(t *testing.T, stream logsClient, m *rotav1.LogData) {
	t.Helper()
	require.NoError(t, stream.Send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Data{Data: m}}))
}

func endLog(t *testing.T, stream logsClient, id uint64, why rotav1.LogEndReason) {
	t.Helper()
	require.NoError(t, stream.Send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_End{End: &rotav1.LogEnd{Id: id, Reason: why}}}))
}

// logReader is somebody who reads a log at a server.
type logReader struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[rotav1.StreamLogsResponse]
	last   *rotav1.StreamLogsResponse
}

func (w *logWorker) reader(server int, r *rotav1.StreamLogsRequest) *logReader {
	w.t.Helper()
	r.JobId = w.job
	stream, err := rotav1.NewJobServiceClient(w.dial(server)).StreamLogs(w.ctx, r)
	require.NoError(w.t, err)
	return &logReader{t: w.t, stream: stream}
}

// next is the next chunk; nil: all was sent.
func (r *logReader) next() *rotav1.LogChunk {
	r.t.Helper()
	m, err := r.stream.Recv()
	require.NoError(r.t, err)
	r.last = m
	if m.GetComplete() {
		_, err := r.stream.Recv()
		require.ErrorIs(r.t, err, io.EOF)
		return nil
	}
	return m.GetChunks()[0]
}

// The way of a log does not lead through the leader: its worker sends it to the server that is asked.
func TestLogsFromAFollower(t *testing.T) {
	t.Parallel()
	w := newLogWorker(t, 3, true)
	w.submit()
	follower := (w.c.Leader() + 1) % 3
	r := w.reader(follower, &rotav1.StreamLogsRequest{Follow: true})
	logs := w.called(follower)
	m := readOf(t, logs)
	require.Equal(t, w.job, m.GetJobId())
	require.EqualValues(t, w.offset, m.GetToken())
	require.True(t, m.GetFollow())
	sendLog(t, logs, &rotav1.LogData{Id: m.GetId(), Stream: rotav1.LogStream_LOG_STREAM_STDOUT, Data: []byte("one\n"), Stdout: 4})
	c := r.next()
	require.Equal(t, "one\n", string(c.GetData()))
	require.EqualValues(t, 1, c.GetAttempt())
	require.Equal(t, "w", c.GetWorker())
	sendLog(t, logs, &rotav1.LogData{Id: m.GetId(), Stdout: 100, Stderr: 7, MissingStdout: 96, MissingStderr: 7})
	c = r.next()
	require.EqualValues(t, 96, c.GetMissing())
	require.Equal(t, rotav1.LogStream_LOG_STREAM_STDOUT, c.GetStream())
	require.EqualValues(t, 7, r.next().GetMissing())

	// Another reader goes on elsewhere from what this one has, and is told of nothing twice.
	leader := w.c.Leader()
	again := w.reader(leader, &rotav1.StreamLogsRequest{Follow: true, Cursor: r.last.GetCursor(), Positions: []*rotav1.LogPosition{c.GetBehind()}})
	other := w.called(leader)
	require.Equal(t, []uint64{100, 0}, []uint64{readOf(t, other).GetStdout(), c.GetBehind().GetStderr()})
	endLog(t, other, 1, rotav1.LogEndReason_LOG_END_REASON_ENDED)

	endLog(t, logs, m.GetId(), rotav1.LogEndReason_LOG_END_REASON_ENDED)
	w.report(&rotav1.ReportGroup{Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED})
	for _, reader := range []*logReader{r, again} {
		c = reader.next()
		require.Equal(t, rotav1.LogEvent_LOG_EVENT_ENDED, c.GetEvent())
		require.Equal(t, rotav1.TaskState_TASK_STATE_SUCCEEDED, c.GetEnded().GetState())
		require.Nil(t, reader.next())
	}
}

// A reader who has come before the task gets each of its attempts, one after the other.
func TestFollowingBeginsBeforeTheTaskAndGoesOnWithTheNextAttempt(t *testing.T) {
	t.Parallel()
	w := newLogWorker(t, 1, true)
	blocker := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 3, NotBefore: nil}
	blocker.GetHandler().Name = "nobody has it"
	jobs := rotav1.NewJobServiceClient(w.dial(0))
	waits, err := jobs.Submit(w.ctx, &rotav1.SubmitRequest{Spec: blocker, Tasks: &rotav1.TaskSet{Count: 1}})
	require.NoError(t, err)
	w.job = waits.GetJobId()
	early := w.reader(0, &rotav1.StreamLogsRequest{Follow: true})
	require.Equal(t, rotav1.LogEvent_LOG_EVENT_WAITING, early.next().GetEvent())
	_, err = jobs.CancelJob(w.ctx, &rotav1.CancelJobRequest{JobId: w.job})
	require.NoError(t, err)
	for c := early.next(); c != nil; c = early.next() {
		require.Equal(t, rotav1.LogEvent_LOG_EVENT_ENDED, c.GetEvent())
	}

	w.submit()
	r := w.reader(0, &rotav1.StreamLogsRequest{Follow: true})
	logs := w.called(0)
	for attempt := range 2 {
		m := readOf(t, logs)
		require.EqualValues(t, w.offset, m.GetToken())
		text := fmt.Sprintf("attempt %d", attempt+1)
		sendLog(t, logs, &rotav1.LogData{Id: m.GetId(), Stream: rotav1.LogStream_LOG_STREAM_STDERR, Data: []byte(text), Stderr: uint64(len(text))})
		c := r.next()
		require.Equal(t, text, string(c.GetData()))
		require.EqualValues(t, attempt+1, c.GetAttempt())
		if attempt == 0 {
			w.report(&rotav1.ReportGroup{Outcome: rotav1.Outcome_OUTCOME_FAILED, Reason: rotav1.Reason_REASON_ERROR, Error: "e"})
			endLog(t, logs, m.GetId(), rotav1.LogEndReason_LOG_END_REASON_ENDED)
			c = r.next()
			require.Equal(t, rotav1.LogEvent_LOG_EVENT_ENDED, c.GetEvent())
			require.Equal(t, "e", c.GetEnded().GetError())
			w.take()
			continue
		}
		endLog(t, logs, m.GetId(), rotav1.LogEndReason_LOG_END_REASON_ENDED)
		w.report(&rotav1.ReportGroup{Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED})
	}
	require.Equal(t, rotav1.LogEvent_LOG_EVENT_ENDED, r.next().GetEvent())
	require.Nil(t, r.next())
}

// Nobody can send logs in the name of another worker.
func TestALogHelloNeedsTheNonceOfItsSession(t *testing.T) {
	t.Parallel()
	w := newLogWorker(t, 1, true)
	for name, h := range map[string]*rotav1.LogsHello{
		"no nonce":        {WorkerId: "w", SessionId: w.number},
		"a wrong nonce":   {WorkerId: "w", SessionId: w.number, BootNonce: []byte("m")},
		"another worker":  {WorkerId: "v", SessionId: w.number, BootNonce: []byte("n")},
		"another session": {WorkerId: "w", SessionId: w.number + 1, BootNonce: []byte("n")},
		"nothing":         nil,
	} {
		_, err := w.hello(0, h)
		require.ErrorIs(t, err, task.ErrInvalid, name)
	}
	first, err := w.hello(0, &rotav1.LogsHello{WorkerId: "w", SessionId: w.number, BootNonce: []byte("n")})
	require.NoError(t, err)
	_, err = w.hello(0, &rotav1.LogsHello{WorkerId: "w", SessionId: w.number, BootNonce: []byte("n")})
	require.ErrorIs(t, err, task.ErrConflict, "one stream a session")
	require.NoError(t, first.CloseSend())
}

// A worker of an older build, or one that is gone, leaves what stays with its result.
func TestAnOldWorkerGivesWhatIsKept(t *testing.T) {
	t.Parallel()
	w := newLogWorker(t, 1, false)
	w.submit()
	r := w.reader(0, &rotav1.StreamLogsRequest{})
	c := r.next()
	require.Equal(t, rotav1.LogEvent_LOG_EVENT_SILENT, c.GetEvent())
	require.Contains(t, c.GetNote(), "upgrade it")
	require.Nil(t, r.next())
	follows := w.reader(0, &rotav1.StreamLogsRequest{Follow: true})
	require.Equal(t, rotav1.LogEvent_LOG_EVENT_SILENT, follows.next().GetEvent())
	w.report(&rotav1.ReportGroup{
		Outcome: rotav1.Outcome_OUTCOME_SUCCEEDED, PackedOutputs: task.PackAppend(nil, []byte("head\ntail\n")), OutputHead: 5, OutputMissing: 90,
		StderrTail: []byte("err\n"),
	})
	read := func(r *logReader) (got string) {
		for c := r.next(); c.GetEvent() != rotav1.LogEvent_LOG_EVENT_ENDED; c = r.next() {
			got += fmt.Sprintf("%v %d %q; ", strings.TrimPrefix(c.GetStream().String(), "LOG_STREAM_"), c.GetMissing(), c.GetData())
		}
		require.Nil(t, r.next())
		return got
	}
	const all = `STDOUT 0 "head\n"; STDOUT 90 "tail\n"; STDERR 0 "err\n"; `
	require.Equal(t, all, read(follows))
	require.Equal(t, all, read(w.reader(0, &rotav1.StreamLogsRequest{})))
	require.Equal(t, `STDERR 0 "err\n"; `, read(w.reader(0, &rotav1.StreamLogsRequest{Stream: rotav1.LogStream_LOG_STREAM_STDERR})))
	require.Equal(t, `STDOUT 95 "tail\n"; STDERR 0 "err\n"; `, read(w.reader(0, &rotav1.StreamLogsRequest{Tail: proto.Uint32(1)})))
	_, err := w.reader(0, &rotav1.StreamLogsRequest{Attempt: 2}).stream.Recv()
	require.ErrorIs(t, wire.FromStatus(err), task.ErrNotFound)
}

// A worker gets no memory of a server beyond the credit that its reads have.
func TestAWorkerThatSendsMoreThanItMayIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newLogWorker(t, 1, true)
	w.submit()
	r := w.reader(0, &rotav1.StreamLogsRequest{Follow: true})
	logs := w.called(0)
	m := readOf(t, logs)
	var err error
	for err == nil { // nobody reads
		err = logs.Send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Data{Data: &rotav1.LogData{
			Id: m.GetId(), Stream: rotav1.LogStream_LOG_STREAM_STDOUT, Data: make([]byte, wire.MaxLogData),
		}}})
	}
	for {
		if _, err = logs.Recv(); err != nil {
			break
		}
	}
	require.ErrorIs(t, wire.FromStatus(err), task.ErrInvalid)
	require.False(t, errors.Is(err, context.DeadlineExceeded))
	// The reader does not suffer: its worker is called again.
	ended := make(chan error, 1)
	go func() {
		for {
			m, err := r.stream.Recv()
			if err != nil || m.GetChunks()[0].GetStream() == rotav1.LogStream_LOG_STREAM_STDERR {
				ended <- err
				return
			}
		}
	}()
	again := w.called(0)
	m = readOf(t, again)
	sendLog(t, again, &rotav1.LogData{Id: m.GetId(), Stream: rotav1.LogStream_LOG_STREAM_STDERR, Data: []byte("end"), Stderr: 3})
	require.NoError(t, <-ended)
}
