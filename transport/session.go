package transport

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

type sessionStream = grpc.BidiStreamingServer[rotav1.SessionRequest, rotav1.SessionResponse]

// helloTimeout bounds the wait for a worker's first message.
const helloTimeout = 10 * time.Second

// Session implements the worker service.
func (s *Server) Session(stream sessionStream) error {
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	return wire.ToStatus(s.session(ctx, cancel, stream))
}

func (s *Server) session(ctx context.Context, cancel context.CancelFunc, stream sessionStream) error {
	if err := s.node.CheckLeader(); err != nil {
		return err
	}
	hello, err := s.firstHello(ctx, stream)
	if err == nil {
		err = checkHello(ctx, hello)
	}
	if err != nil {
		return err
	}
	term, ok := s.node.Ready()
	if !ok || hello.GetTerm() > term {
		return s.notLeader()
	}
	id, attached, err := s.openSession(ctx, hello)
	if err != nil {
		return err
	}
	out := newSendStream(s, id, term, hello, stream, cancel)
	out.holding = wire.HoldingOf(ctx)
	defer out.holding.End()
	if !s.node.Fleet().Attach(id, out) {
		if _, leads := s.node.Ready(); leads {
			return task.Errorf(task.KindUnavailable, "the lease of the session has ended; open a new one")
		}
		return s.notLeader()
	}
	defer s.node.Fleet().Detach(id, out)
	s.node.Fleet().Heard(id, out, conditionOf(hello.State))
	drop, open := s.resend(id, hello, out)
	if !open {
		return task.Errorf(task.KindUnavailable, "the session has ended meanwhile; open a new one")
	}
	welcome := &rotav1.Welcome{
		SessionId: id, Lease: durationpb.New(s.node.Fleet().Lease()), Term: term, LeaderId: s.node.NodeID(), Attached: attached, Drop: drop,
	}
	received := make(chan error, 1)
	// Recv ends with the stream, which ends when this function returns.
	s.begun.Go(func() {
		received <- s.receive(ctx, out)
		// What waits already, such as the answer to goodbye, still goes out.
		out.finish()
	})
	sendErr := s.within(ctx, func() error {
		if err := stream.Send(&rotav1.SessionResponse{Message: &rotav1.SessionResponse_Welcome{Welcome: welcome}}); err != nil {
			return err
		}
		return out.send(ctx)
	})
	cancel()
	// A message that is being handled is still in memory, and counts until this function returns.
	out.handling.Lock()
	defer out.handling.Unlock()
	select {
	case err = <-received:
	default:
		err = sendErr
	}
	if errors.Is(err, io.EOF) || err == nil {
		return nil
	}
	return err
}

// firstHello waits for the first message of a worker, which must be a hello.
func (s *Server) firstHello(ctx context.Context, stream sessionStream) (*rotav1.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var first *rotav1.SessionRequest
	err := s.within(ctx, func() error {
		m, err := stream.Recv()
		if err == nil {
			first = m
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case first.GetHello() == nil:
		return nil, task.Errorf(task.KindInvalid, "the first message of a session must be hello")
	}
	return first.GetHello(), nil
}

// notLeader is the error when this server is not the leader that the worker looks for.
func (s *Server) notLeader() error {
	if err := s.node.CheckLeader(); err != nil {
		return err
	}
	return task.Errorf(task.KindUnavailable, "there is a newer leader than this server")
}

// openSession attaches to the worker's open session, which writes nothing, or opens one.
func (s *Server) openSession(ctx context.Context, h *rotav1.Hello) (id uint64, attached bool, err error) {
	op, err := sessionOp(h)
	if err != nil {
		return 0, false, err
	}
	if open, ok := s.node.State().Machine().SessionOf(h.WorkerId); ok {
		switch {
		case subtle.ConstantTimeCompare(open.Nonce, h.BootNonce) == 1:
			return open.Id, true, nil
		case s.node.Fleet().Shunned(open.Id):
			return 0, false, task.Errorf(task.KindUnavailable, "the worker's last session does not say what became of an exclusive task: wait until its lease has ended")
		}
	}
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: op}})
	s.refused.Add(int64(fsm.Excepted(res.Exceptions)))
	if err != nil {
		return 0, false, err
	}
	s.lines.Info("a worker has opened a session", "worker", h.WorkerId, "name", h.Name, "session", res.Session, "slots", h.Slots)
	return res.Session, res.Existed, nil
}

// maxNonce and maxWorkerID bound what a worker says of itself.
const (
	maxNonce    = 64
	maxWorkerID = 64
)

func sessionOp(h *rotav1.Hello) (*logpb.OpenSession, error) {
	switch {
	case len(h.GetWorkerId()) == 0 || len(h.WorkerId) > maxWorkerID:
		return nil, task.Errorf(task.KindInvalid, "a worker id has 1 to %d bytes", maxWorkerID)
	case len(h.BootNonce) == 0 || len(h.BootNonce) > maxNonce:
		return nil, task.Errorf(task.KindInvalid, "a boot nonce has 1 to %d bytes", maxNonce)
	case len(h.ReplacesNonce) > maxNonce:
		return nil, task.Errorf(task.KindInvalid, "the nonce of an earlier process has at most %d bytes", maxNonce)
	case h.Slots < 1 || h.Slots > task.MaxSlots:
		return nil, task.Errorf(task.KindInvalid, "%d slots are out of range: use 1 to %d", h.Slots, task.MaxSlots)
	case len(h.Name) > task.MaxName || len(h.Version) > task.MaxName:
		return nil, task.Errorf(task.KindTooLarge, "a worker's name and version have at most %d bytes each", task.MaxName)
	}
	if err := checkOffer(h); err != nil {
		return nil, err
	}
	pairs := wire.PairsFromMap(h.Labels)
	if err := task.ValidPairs("label", pairs); err != nil {
		return nil, err
	}
	session := &logpb.Session{
		Worker: h.WorkerId, Name: h.Name, Nonce: h.BootNonce, Slots: h.Slots, Handlers: h.Handlers, Commands: h.Commands,
		Queues: h.Queues, Version: h.Version,
	}
	for _, p := range pairs {
		session.Labels = append(session.Labels, &logpb.Pair{Key: p.Key, Value: p.Value})
	}
	op := &logpb.OpenSession{Session: session, Replaces: h.Replaces, ReplacesNonce: h.ReplacesNonce}
	for _, held := range h.Held {
		ranges, err := rangesOf(held.GetRanges())
		if err != nil {
			return nil, err
		}
		op.Held = append(op.Held, &logpb.Held{Job: held.GetJobId(), TokenOffset: held.GetTokenOffset(), Ranges: ranges})
	}
	return op, nil
}

// checkOffer checks the handlers and queues of a hello.
func checkOffer(h *rotav1.Hello) error {
	switch {
	case len(h.Handlers) > task.MaxHandlers:
		return task.Errorf(task.KindTooLarge, "%d handlers are more than a worker may have (%d): start several workers", len(h.Handlers), task.MaxHandlers)
	case len(h.Queues) > task.MaxQueues:
		return task.Errorf(task.KindTooLarge, "%d queues are more than a worker may name (%d): name none to serve all of them", len(h.Queues), task.MaxQueues)
	}
	size := 0
	for _, name := range slices.Concat(h.Handlers, h.Queues) {
		if err := task.ValidName("handler or queue", name); err != nil {
			return err
		}
		size += len(name)
	}
	if size > task.MaxOffered {
		return task.Errorf(task.KindTooLarge, "the names of a worker's handlers and queues have %d bytes, the limit is %d: start several workers", size, task.MaxOffered)
	}
	return nil
}

// resend sends what the session holds and the worker does not list, and returns what the worker lists
// and the session does not hold. It comes after Attach: what is granted in between is sent twice, and the
// worker recognises it by its token.
func (s *Server) resend(id uint64, h *rotav1.Hello, out *sendStream) (drop []*rotav1.HeldTasks, open bool) {
	listed, current := heldBy(h), heldTasks{}
	open = s.node.State().Machine().Held(id, func(t fsm.HeldTask) {
		k, whole := heldKey{t.Job, t.TokenOffset}, task.Range{First: t.First, Count: t.Count}
		current.add(k, whole)
		if t.Stopping {
			for i := whole.First; i < whole.End(); i++ {
				out.Stop(t.Job, i, t.TokenOffset)
			}
		}
		listed.without(k, whole, func(part task.Range) {
			g := t.Grant
			g.First, g.Count = part.First, part.Count
			out.Grant(g)
		})
	})
	return listed.beyond(current), open
}

// receive takes a worker's messages until the stream or the session ends.
func (s *Server) receive(ctx context.Context, out *sendStream) error {
	for {
		m, err := out.stream.Recv()
		if err != nil {
			return err
		}
		if last, err := s.handle(ctx, out, m); last || err != nil {
			return err
		}
	}
}

// handle takes one message of a worker. last says that it was a goodbye.
func (s *Server) handle(ctx context.Context, out *sendStream, m *rotav1.SessionRequest) (last bool, err error) {
	out.handling.Lock()
	defer out.handling.Unlock()
	if ctx.Err() != nil {
		return false, s.sessionEnded(ctx)
	}
	switch b := m.Message.(type) {
	case *rotav1.SessionRequest_Beat:
		return false, s.beat(ctx, out, b.Beat)
	case *rotav1.SessionRequest_Reports:
		return false, s.reports(ctx, out, b.Reports)
	case *rotav1.SessionRequest_Goodbye:
		out.leaving.Store(true)
		if err := s.goodbye(ctx, out.session, b.Goodbye); err != nil {
			return false, err
		}
		out.answer(&rotav1.SessionResponse{Message: &rotav1.SessionResponse_GoodbyeAnswer{GoodbyeAnswer: &rotav1.GoodbyeAnswer{}}}, cost{})
		return true, nil
	}
	return false, task.Errorf(task.KindInvalid, "unexpected message in a session")
}

// goodbye closes a session whose worker wants to go, and returns when it is closed.
func (s *Server) goodbye(ctx context.Context, session uint64, b *rotav1.Goodbye) error {
	op := &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: session, Graceful: true, Unstarted: b.GetUnstarted()}}}
	closed := make(chan error, 1)
	s.proposeWhenRoom(ctx, op, func(_ fsm.Result, err error) { closed <- err })
	select {
	case err := <-closed:
		if err != nil && !errors.Is(err, task.ErrNotFound) {
			return err
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
