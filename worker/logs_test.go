//go:build linux

package worker

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker/report"
)

type logsStream = grpc.BidiStreamingServer[rotav1.LogsRequest, rotav1.LogsResponse]

// logServer is a server that somebody asks for logs.
type logServer struct {
	rotav1.UnimplementedWorkerServiceServer
	addr   string
	hellos chan *rotav1.LogsHello
	// stream is the newest stream, and heard what came on it.
	stream chan logsStream
	heard  chan *rotav1.LogsRequest
}

func newLogServer(t testing.TB) *logServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &logServer{addr: l.Addr().String(), hellos: make(chan *rotav1.LogsHello, 10), stream: make(chan logsStream, 10), heard: make(chan *rotav1.LogsRequest)}
	g := grpc.NewServer(wire.ServerOptions()...)
	rotav1.RegisterWorkerServiceServer(g, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(l)
	}()
	t.Cleanup(func() {
		g.Stop()
		<-served
	})
	return s
}

func (s *logServer) Logs(stream logsStream) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	s.hellos <- m.GetHello()
	if err := stream.Send(&rotav1.LogsResponse{Message: &rotav1.LogsResponse_Welcome{Welcome: &rotav1.LogsWelcome{}}}); err != nil {
		return err
	}
	s.stream <- stream
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // A stream that has ended.
		}
		select {
		case s.heard <- m:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (s *logServer) next(t testing.TB) *rotav1.LogsRequest {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	select {
	case m := <-s.heard:
		return m
	case <-ctx.Done():
		require.FailNow(t, "nothing came on the stream of logs")
		return nil
	}
}

func callLogs(addr string) *rotav1.SessionResponse {
	return &rotav1.SessionResponse{Message: &rotav1.SessionResponse_CallLogs{CallLogs: &rotav1.CallLogs{Addr: addr}}}
}

func readLog(id, job uint64, credit uint32, change ...func(*rotav1.LogRead)) *rotav1.LogsResponse {
	m := &rotav1.LogRead{Id: id, JobId: job, Token: job * 1000, Follow: true, Credit: credit}
	for _, f := range change {
		f(m)
	}
	return &rotav1.LogsResponse{Message: &rotav1.LogsResponse_Read{Read: m}}
}

// logPatience is how long a test waits for what must come on a stream of logs.
const logPatience = 30 * time.Second

// holds waits until the worker has a task.
func (b *bundle) holds(t testing.TB, job uint64) {
	t.Helper()
	eventually(t, "the task is here", func() bool { return b.worker.held.holds(report.Grant{Job: job, Offset: int64(job) * 1000}, 0) })
}

// called has the worker open a stream to a server, and returns it.
func (b *bundle) called(t testing.TB, s *logServer) logsStream {
	t.Helper()
	b.tell(t, callLogs(s.addr))
	hello := <-s.hellos
	require.Equal(t, b.worker.id.id, hello.GetWorkerId())
	require.Equal(t, b.worker.id.nonce, hello.GetBootNonce())
	require.EqualValues(t, 1, hello.GetSessionId())
	return <-s.stream
}

// A server that is not the leader reads what a command prints while it runs, and before it has begun.
func TestLogsAreReadWhileACommandRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Commands: true})
	s := newLogServer(t)
	stream := b.called(t, s)
	flag := filepath.Join(t.TempDir(), "flag")
	b.assign(t, shell(1, "echo first"), shell(2, fmt.Sprintf("echo begun; while ! test -e %s; do sleep 0.01; done; echo ended >&2; exit 3", flag)))
	b.holds(t, 2)
	require.NoError(t, stream.Send(readLog(7, 2, 1<<20)))
	m := s.next(t).GetData()
	require.Equal(t, "begun\n", string(m.GetData()))
	require.Equal(t, rotav1.LogStream_LOG_STREAM_STDOUT, m.GetStream())
	require.EqualValues(t, 7, m.GetId())
	require.EqualValues(t, 6, m.GetStdout())
	require.NotNil(t, m.GetAt())
	require.NoError(t, os.WriteFile(flag, nil, 0o600))
	m = s.next(t).GetData()
	require.Equal(t, "ended\n", string(m.GetData()))
	require.Equal(t, rotav1.LogStream_LOG_STREAM_STDERR, m.GetStream())
	require.Equal(t, rotav1.LogEndReason_LOG_END_REASON_ENDED, s.next(t).GetEnd().GetReason())

	// The first one has ended before anybody asked.
	require.NoError(t, stream.Send(readLog(8, 1, 1<<20)))
	require.Equal(t, "first\n", string(s.next(t).GetData().GetData()))
	require.Equal(t, rotav1.LogEndReason_LOG_END_REASON_ENDED, s.next(t).GetEnd().GetReason())
	require.NoError(t, stream.Send(readLog(9, 3, 1<<20)))
	require.Equal(t, rotav1.LogEndReason_LOG_END_REASON_UNKNOWN, s.next(t).GetEnd().GetReason())
}

// A reader that gives no credit gets nothing more, and holds up neither its task nor other readers.
func TestAReaderThatDoesNotReadHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Commands: true})
	s := newLogServer(t)
	stream := b.called(t, s)
	const size = 3 << 20
	b.assign(t, shell(1, fmt.Sprintf("head -c %d /dev/zero", size)))
	b.holds(t, 1)
	require.NoError(t, stream.Send(readLog(1, 1, 1)))
	got := s.next(t)
	require.Len(t, got.GetData().GetData(), 1)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, b.await(t, 1, 0).outcome)
	require.NoError(t, stream.Send(readLog(2, 1, 2*size)))
	var all, behind uint64
	for {
		m := s.next(t)
		if m.GetEnd() != nil {
			require.EqualValues(t, 2, m.GetEnd().GetId())
			break
		}
		require.EqualValues(t, 2, m.GetData().GetId(), "the other one has no credit")
		all += uint64(len(m.GetData().GetData())) + m.GetData().GetMissingStdout()
		behind = m.GetData().GetStdout()
	}
	require.EqualValues(t, size, all)
	require.EqualValues(t, size, behind)
	require.NoError(t, stream.Send(&rotav1.LogsResponse{Message: &rotav1.LogsResponse_Drop{Drop: &rotav1.LogDrop{Id: 1}}}))
	require.NoError(t, stream.Send(readLog(3, 1, 1<<20, func(m *rotav1.LogRead) { m.Stdout = size - 5 })))
	require.Len(t, s.next(t).GetData().GetData(), 5)
	require.EqualValues(t, 3, s.next(t).GetEnd().GetId())
}

// The stream of logs does not depend on that of the session.
func TestLogsAreReadWhileTheSessionMovesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Commands: true})
	s := newLogServer(t)
	stream := b.called(t, s)
	flag := filepath.Join(t.TempDir(), "flag")
	b.assign(t, shell(1, fmt.Sprintf("echo begun; while ! test -e %s; do sleep 0.01; done; echo ended", flag)))
	b.holds(t, 1)
	require.NoError(t, stream.Send(readLog(1, 1, 1<<20)))
	require.Equal(t, "begun\n", string(s.next(t).GetData().GetData()))
	b.breakStream(t)
	require.NoError(t, os.WriteFile(flag, nil, 0o600))
	require.Equal(t, "ended\n", string(s.next(t).GetData().GetData()))
	require.Equal(t, rotav1.LogEndReason_LOG_END_REASON_ENDED, s.next(t).GetEnd().GetReason())
	// Called twice, it has one stream.
	b.tell(t, callLogs(s.addr))
	require.NoError(t, stream.Send(readLog(2, 1, 1<<20)))
	require.NotNil(t, s.next(t).GetData())
	require.Empty(t, s.hellos)
}
