package transport

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// callAgain is how long to wait for a worker that was called before it is called again: the message may have been
	// lost with its leader. The wait doubles, up to callAgainMost.
	callAgain, callAgainMost = time.Second, 15 * time.Second
	// idleLogs is how long a stream of logs stays open that nobody reads.
	idleLogs = 30 * time.Second
	// maxLogReads bounds the reads of logs of this server, and maxStreamReads those of one worker.
	maxLogReads, maxStreamReads = 1024, 256
	// logCredit is how much of a log may be on its way to a reader, bytes: what a slow reader costs.
	logCredit = 256 << 10
)

// logStreams are the streams on which workers send to this server what their commands print, by session. A worker opens
// its stream when the leader asks for it: workers can reach every server, and nobody can reach workers. So logs go
// through no other server, and through no log.
type logStreams struct {
	mu   sync.Mutex
	open map[uint64]*logStream
	// waits is who waits for the stream of a session. Each is closed when it is there.
	waits map[uint64]chan struct{}
	// waiting is how many wait for each of them.
	waiting map[uint64]int
	reads   atomic.Int64
}

func newLogStreams() *logStreams {
	return &logStreams{open: map[uint64]*logStream{}, waits: map[uint64]chan struct{}{}, waiting: map[uint64]int{}}
}

// logStream is the stream of one session.
type logStream struct {
	all     *logStreams
	session uint64
	stream  grpc.BidiStreamingServer[rotav1.LogsRequest, rotav1.LogsResponse]

	mu    sync.Mutex
	last  uint64
	reads map[uint64]*logRead
	// dirty is the reads of which the worker has to be told something.
	dirty []*logRead
	wake  chan struct{}
	// quiet is since when nobody reads; zero: somebody does.
	quiet time.Time
	ended bool
}

// Logs implements the worker service.
func (s *Server) Logs(stream grpc.BidiStreamingServer[rotav1.LogsRequest, rotav1.LogsResponse]) error {
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	return wire.ToStatus(s.serveLogs(ctx, cancel, stream))
}

func (s *Server) serveLogs(ctx context.Context, cancel context.CancelFunc, stream grpc.BidiStreamingServer[rotav1.LogsRequest, rotav1.LogsResponse]) error {
	session, err := s.logsHello(ctx, stream)
	if err != nil {
		return err
	}
	l := &logStream{all: s.logs, session: session, stream: stream, reads: map[uint64]*logRead{}, wake: make(chan struct{}, 1), quiet: time.Now()}
	if !s.logs.add(l) {
		return task.Errorf(task.KindConflict, "a stream of the logs of this session is open already")
	}
	defer s.logs.remove(l)
	received := make(chan error, 1)
	// Recv ends with the stream, which ends when this function returns.
	s.begun.Go(func() {
		err := l.receive()
		received <- err
		cancel()
	})
	err = s.within(ctx, func() error { return l.send(ctx) })
	select {
	case err = <-received:
	default:
	}
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// logsHello waits for the hello of a stream of logs, and returns the session that it proves.
func (s *Server) logsHello(ctx context.Context, stream grpc.BidiStreamingServer[rotav1.LogsRequest, rotav1.LogsResponse]) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var first *rotav1.LogsRequest
	err := s.within(ctx, func() error {
		m, err := stream.Recv()
		if err == nil {
			first = m
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	h := first.GetHello()
	if h == nil {
		return 0, task.Errorf(task.KindInvalid, "the first message of a stream of logs must be hello")
	}
	open, ok := s.node.State().Machine().Session(h.GetSessionId())
	if !ok || open.Worker != h.GetWorkerId() || subtle.ConstantTimeCompare(open.Nonce, h.GetBootNonce()) != 1 {
		return 0, task.Errorf(task.KindInvalid, "this worker has no session %d", h.GetSessionId())
	}
	return open.Id, nil
}

// add puts a stream in; false: its session has one.
func (a *logStreams) add(l *logStream) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[l.session] != nil {
		return false // one that ends makes room in a moment, and the worker is called again
	}
	a.open[l.session] = l
	if c := a.waits[l.session]; c != nil {
		close(c)
		delete(a.waits, l.session)
	}
	return true
}

// remove takes a stream out, and ends its reads.
func (a *logStreams) remove(l *logStream) {
	a.mu.Lock()
	delete(a.open, l.session)
	a.mu.Unlock()
	l.mu.Lock()
	l.ended = true
	reads := l.reads
	l.reads = nil
	l.mu.Unlock()
	for _, r := range reads {
		r.finish(rotav1.LogEndReason_LOG_END_REASON_UNSPECIFIED)
	}
}

// of returns the stream of a session; nil: there is none. Then opened is closed when there is one.
func (a *logStreams) of(session uint64) (l *logStream, opened <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l = a.open[session]; l != nil && !l.isEnded() {
		return l, nil
	}
	if a.waits[session] == nil {
		a.waits[session] = make(chan struct{})
	}
	a.waiting[session]++
	return nil, a.waits[session]
}

// enough says that somebody whom of has given a channel waits no longer.
func (a *logStreams) enough(session uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting[session]--; a.waiting[session] == 0 {
		delete(a.waiting, session)
		delete(a.waits, session)
	}
}

// logsOf returns the stream of logs of a session. It has the worker called until that is there, or ctx ends, or the
// leader knows that it is in vain. silent is called once when that takes long.
func (s *Server) logsOf(ctx context.Context, session uint64, silent func(why error) error) (*logStream, error) {
	pause, told := callAgain, false
	for {
		l, opened := s.logs.of(session)
		if l != nil {
			return l, nil
		}
		err := s.callLogs(ctx, session)
		if !inVain(err) {
			err = s.awaitLogs(ctx, opened, pause)
		}
		s.logs.enough(session)
		switch {
		case err == nil:
			continue
		case !errors.Is(err, errNotCalled):
			return nil, err
		}
		if pause = min(2*pause, callAgainMost); !told && pause > 2*callAgain {
			told = true
			if err := silent(err); err != nil {
				return nil, err
			}
		}
	}
}

// inVain says whether to call again is of no use. There may be no leader for now, or the worker may be on its way to it.
func inVain(err error) bool {
	kind := task.KindOf(err)
	return kind == task.KindUnsupported || kind == task.KindInvalid
}

// errNotCalled says that a worker was called and has not come.
var errNotCalled = task.Errorf(task.KindUnavailable, "the worker does not answer the call for its logs")

func (s *Server) awaitLogs(ctx context.Context, opened <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-opened:
		return nil
	case <-timer.C:
		return errNotCalled
	case <-ctx.Done():
		return s.ended(ctx)
	}
}

// callLogs asks the leader to have the worker of a session open a stream of logs to this server.
func (s *Server) callLogs(ctx context.Context, session uint64) error {
	ctx, cancel := context.WithTimeout(ctx, callAgain)
	defer cancel()
	_, err := atLeader(ctx, s, &peerpb.CallLogsRequest{Session: session, Addr: s.node.Self().Addr}, s.callWorker,
		func(c grpc.ClientConnInterface, ctx context.Context, r *peerpb.CallLogsRequest) (*peerpb.CallLogsResponse, error) {
			return peerpb.NewPeerServiceClient(c).CallLogs(ctx, r)
		})
	return wire.FromStatus(err)
}

// CallLogs implements the peer service.
func (s *Server) CallLogs(ctx context.Context, r *peerpb.CallLogsRequest) (*peerpb.CallLogsResponse, error) {
	if err := s.node.CheckLeader(); err != nil {
		return nil, wire.ToStatus(err)
	}
	resp, err := s.callWorker(ctx, r)
	return resp, wire.ToStatus(err)
}

func (s *Server) callWorker(_ context.Context, r *peerpb.CallLogsRequest) (*peerpb.CallLogsResponse, error) {
	if err := wire.CheckAddr(r.GetAddr()); err != nil {
		return nil, err
	}
	out, _ := s.node.Fleet().StreamOf(r.GetSession()).(*sendStream)
	switch {
	case out == nil:
		return nil, task.Errorf(task.KindUnavailable, "the worker is not connected")
	case !out.logs:
		return nil, task.Errorf(task.KindUnsupported, "the worker is of a build that sends no logs: upgrade it")
	}
	out.callLogs(r.GetAddr())
	return &peerpb.CallLogsResponse{}, nil
}
