package hostile

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// calledFor submits a task for a hostile worker, lets somebody read its log, and returns the stream that the worker opens
// when it is called for that.
func (h *harness) calledFor(read func(job uint64)) grpc.BidiStreamingClient[rotav1.LogsRequest, rotav1.LogsResponse] {
	h.t.Helper()
	hello := helloOf()
	hello.Logs = true
	l := h.attach(hello)
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "hostile"}}, MaxAttempts: 1}
	job, err := rotav1.NewJobServiceClient(h.Dial(h.Leader())).Submit(h.t.Context(), &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}})
	require.NoError(h.t, err)
	read(job.GetJobId())
	var seq uint64
	for {
		m, err := l.Recv()
		require.NoError(h.t, err)
		if m.GetCallLogs() != nil {
			break
		}
	}
	go func() { // it keeps its session
		for l.say(&rotav1.Beat{Seq: seq + 1}) == nil && h.t.Context().Err() == nil {
			seq++
			time.Sleep(time.Second)
		}
	}()
	stream, err := rotav1.NewWorkerServiceClient(h.Dial(h.Leader())).Logs(h.t.Context())
	require.NoError(h.t, err)
	require.NoError(h.t, stream.Send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Hello{Hello: &rotav1.LogsHello{
		WorkerId: hello.GetWorkerId(), SessionId: l.welcome.GetSessionId(), BootNonce: hello.GetBootNonce(),
	}}}))
	m, err := stream.Recv()
	require.NoError(h.t, err)
	require.NotNil(h.t, m.GetWelcome())
	return stream
}

// A worker sends a log of gigabytes, whatever it was asked for and whoever reads. It may send no more than its readers
// have credit for, and what nobody asked for is dropped.
func TestAWorkerThatFloodsALogIsGivenUp(t *testing.T) {
	t.Parallel()
	h := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := h.calledFor(func(job uint64) {
		// It is read, and its reader is not.
		_, err := rotav1.NewJobServiceClient(h.Dial(h.Leader())).StreamLogs(ctx, &rotav1.StreamLogsRequest{JobId: job, Follow: true})
		require.NoError(t, err)
	})
	m, err := stream.Recv()
	require.NoError(t, err)
	piece := func(id uint64) *rotav1.LogsRequest {
		return &rotav1.LogsRequest{Message: &rotav1.LogsRequest_Data{Data: &rotav1.LogData{Id: id, Data: make([]byte, wire.MaxLogData)}}}
	}
	for range 4096 { // 256 MiB for a read that there never was
		require.NoError(t, stream.Send(piece(1<<40)))
	}
	h.Served(20)
	for sent := 0; ; sent++ {
		require.Less(t, sent, 1<<14, "it is given up")
		if stream.Send(piece(m.GetRead().GetId())) != nil {
			break
		}
	}
	_, err = stream.Recv()
	for err == nil {
		_, err = stream.Recv()
	}
	require.ErrorIs(t, wire.FromStatus(err), task.ErrInvalid)
	h.Served(20)
}

// Thousands read a log, and take nothing of it.
func TestReadersOfLogsThatReadNothingAreBounded(t *testing.T) {
	t.Parallel()
	h := start(t)
	const readers = 3000
	var refused sync.Map
	stream := h.calledFor(func(job uint64) {
		jobs := rotav1.NewJobServiceClient(h.Dial(h.Leader()))
		for i := range readers {
			reader, err := jobs.StreamLogs(t.Context(), &rotav1.StreamLogsRequest{JobId: job, Follow: true})
			if err != nil {
				continue
			}
			if i%10 == 0 { // some want to know
				go func() {
					for err == nil {
						_, err = reader.Recv()
					}
					refused.Store(task.KindOf(wire.FromStatus(err)), true)
				}()
			}
			if i%1000 == 999 {
				jobs = rotav1.NewJobServiceClient(h.Dial(h.Leader()))
			}
		}
	})
	for reads := 0; reads < 256; {
		m, err := stream.Recv()
		require.NoError(t, err)
		if m.GetRead() == nil {
			continue
		}
		reads++
		for range 4 {
			require.NoError(t, stream.Send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Data{Data: &rotav1.LogData{
				Id: m.GetRead().GetId(), Stream: rotav1.LogStream_LOG_STREAM_STDOUT, Data: make([]byte, 60<<10),
			}}}))
		}
	}
	h.Served(20)
	h.Await("one too many is told so", func() bool { _, told := refused.Load(task.KindExhausted); return told })
}
