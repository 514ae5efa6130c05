package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

const (
	// callTimeout is how long a server may take to answer the hello of a stream of logs. If it does not, it asks again.
	callTimeout = 5 * time.Second
	// maxLogReads bounds the reads of one stream.
	maxLogReads = 256
)

// logStreams are the streams on which the worker sends what its commands print: one to each server where somebody
// reads it. The leader asks for them, and the server at the other end ends them. They have connections of their own: on
// that of the session, beats would wait behind what commands print.
type logStreams struct {
	w *Worker
	// life is the context of all streams.
	life context.Context

	mu sync.Mutex
	// to is the addresses of the servers.
	to    map[string]struct{}
	parts sync.WaitGroup
}

func newLogStreams(life context.Context, w *Worker) *logStreams {
	return &logStreams{w: w, life: life, to: map[string]struct{}{}}
}

// call opens a stream to a server, unless there is one. It does not wait.
func (s *logStreams) call(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.to[addr]; open || len(s.to) >= task.MaxServers || s.life.Err() != nil {
		return
	}
	s.to[addr] = struct{}{}
	s.parts.Go(func() {
		err := s.serve(s.life, addr)
		s.w.log.Debug("a stream of logs ended", "addr", addr, "error", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.to, addr)
	})
}

// wait returns when all streams have ended. Nobody may call call any more.
func (s *logStreams) wait() { s.parts.Wait() }

// serve opens a stream to a server, and answers it until it ends.
func (s *logStreams) serve(ctx context.Context, addr string) error {
	conn, err := s.w.cfg.Dial(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	impatience := time.AfterFunc(callTimeout, func() { cut(errNoWelcome) })
	defer impatience.Stop()
	stream, err := rotav1.NewWorkerServiceClient(conn).Logs(ctx)
	if err != nil {
		return causeOf(ctx, err)
	}
	l := &logStream{w: s.w, stream: stream, reads: map[uint64]*logRead{}}
	session, nonce := s.w.id.proof()
	l.send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_Hello{Hello: &rotav1.LogsHello{WorkerId: s.w.id.id, SessionId: session, BootNonce: nonce}}})
	m, err := stream.Recv()
	switch {
	case err != nil:
		return causeOf(ctx, err)
	case m.GetWelcome() == nil:
		return fmt.Errorf("%w: its first message on a stream of logs is not a welcome", errProtocol)
	case !impatience.Stop():
		return errNoWelcome
	}
	defer l.parts.Wait()
	defer cut(nil)
	for {
		m, err := stream.Recv()
		if err != nil {
			return causeOf(ctx, err)
		}
		if err := l.handle(ctx, m); err != nil {
			return err
		}
	}
}

// logStream is a stream to one server.
type logStream struct {
	w      *Worker
	stream grpc.BidiStreamingClient[rotav1.LogsRequest, rotav1.LogsResponse]

	// sending is locked while a message is sent.
	sending sync.Mutex
	parts   sync.WaitGroup

	mu    sync.Mutex
	reads map[uint64]*logRead
}

// send sends a message. If the stream has ended, its reader learns why.
func (l *logStream) send(m *rotav1.LogsRequest) {
	l.sending.Lock()
	defer l.sending.Unlock()
	_ = l.stream.Send(m)
}

func (l *logStream) end(id uint64, reason rotav1.LogEndReason) {
	l.send(&rotav1.LogsRequest{Message: &rotav1.LogsRequest_End{End: &rotav1.LogEnd{Id: id, Reason: reason}}})
}

// handle does what one message says.
func (l *logStream) handle(ctx context.Context, m *rotav1.LogsResponse) error {
	switch m := m.GetMessage().(type) {
	case *rotav1.LogsResponse_Read:
		return l.begin(ctx, m.Read)
	case *rotav1.LogsResponse_Credit:
		if r := l.read(m.Credit.GetId()); r != nil {
			r.give(m.Credit.GetBytes())
		}
	case *rotav1.LogsResponse_Drop:
		if r := l.read(m.Drop.GetId()); r != nil {
			r.cancel()
		}
	case *rotav1.LogsResponse_Welcome:
		return fmt.Errorf("%w: it said welcome twice", errProtocol)
	}
	return nil
}

func (l *logStream) read(id uint64) *logRead {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads[id]
}

// begin answers a read in a goroutine of its own.
func (l *logStream) begin(ctx context.Context, m *rotav1.LogRead) error {
	ctx, cancel := context.WithCancel(ctx)
	r := &logRead{m: m, cancel: cancel, more: make(chan struct{}, 1)}
	r.give(m.GetCredit())
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.reads[m.GetId()] != nil:
		cancel()
		return fmt.Errorf("%w: it uses the number of a read twice", errProtocol)
	case len(l.reads) >= maxLogReads:
		cancel()
		l.parts.Go(func() { l.end(m.GetId(), rotav1.LogEndReason_LOG_END_REASON_TOO_MANY) })
		return nil
	}
	l.reads[m.GetId()] = r
	l.parts.Go(func() {
		defer cancel()
		reason, err := l.answer(ctx, r)
		l.mu.Lock()
		delete(l.reads, m.GetId())
		l.mu.Unlock()
		if err == nil {
			l.end(m.GetId(), reason)
		}
	})
	return nil
}

// logRead is a read of the log of one attempt.
type logRead struct {
	m      *rotav1.LogRead
	cancel context.CancelFunc

	mu     sync.Mutex
	credit int64
	// more has an element when credit was given.
	more chan struct{}
}

// give adds credit.
func (r *logRead) give(bytes uint32) {
	r.mu.Lock()
	r.credit += int64(bytes)
	r.mu.Unlock()
	notify(r.more)
}

// left returns how much may be sent, for which it waits.
func (r *logRead) left(ctx context.Context) (int64, error) {
	for {
		r.mu.Lock()
		credit := r.credit
		r.mu.Unlock()
		if credit > 0 {
			return credit, nil
		}
		select {
		case <-r.more:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (r *logRead) spend(bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.credit -= int64(bytes)
}
