package transport

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// maxUnanswered bounds the submits of a stream that wait for the log, or whose answers wait to be sent. Beyond it
	// the stream is not read, and its client waits.
	maxUnanswered = 8192
	// maxSubmits bounds the submits in one message.
	maxSubmits = 4096
	// answerBatch bounds the answers in one message.
	answerBatch = 1024
	// answerBytes is about the memory of an answer without its texts, until it is sent.
	answerBytes = 384
)

// SubmitStream implements the job service.
func (s *Server) SubmitStream(stream grpc.BidiStreamingServer[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	if err := s.node.CheckLeader(); err != nil {
		return wire.ToStatus(err)
	}
	ctx, cancel := s.streamContext(stream.Context())
	defer cancel()
	w := &submitStream{s: s, stream: stream, wake: make(chan struct{}, 1), followed: map[uint64]*followed{}, holding: wire.HoldingOf(ctx), call: access.CallOf(ctx)}
	defer w.holding.End()
	w.room = sync.NewCond(&w.mu)
	// The reader ends with the stream: at the latest when this function has returned.
	s.begun.Go(w.read)
	defer w.unfollowAll()
	return wire.ToStatus(s.within(ctx, func() error { return w.write(ctx) }))
}

// submitStream is one client's stream of submits.
type submitStream struct {
	s      *Server
	stream grpc.BidiStreamingServer[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]
	wake   chan struct{}
	// holding counts the memory of answers that are not sent yet.
	holding *wire.Holding
	// call says who the client is.
	call *access.Call

	mu   sync.Mutex
	room *sync.Cond
	// unanswered is how many submits wait for the log, or have answers that are not sent yet.
	unanswered int
	answers    []*rotav1.SubmitAnswer
	// followed is by job; dirty is those with news, and those that cannot be followed.
	followed map[uint64]*followed
	dirty    []*followed
	// refusing: the stream takes no more submits. readErr is why no more arrive. gone: the client has gone, and
	// no jobs are followed for it.
	refusing bool
	gone     bool
	readErr  error
}

// read takes submits until the stream ends.
func (w *submitStream) read() {
	for {
		m, err := w.stream.Recv()
		if err != nil {
			w.fail(err)
			return
		}
		if err := wire.CheckKnown(m); err != nil {
			w.fail(err)
			return
		}
		if len(m.Submits) > maxSubmits {
			w.fail(task.Errorf(task.KindTooLarge, "a message of %d submits is too large: use up to %d", len(m.Submits), maxSubmits))
			return
		}
		for _, item := range m.Submits {
			if !w.admit() {
				return
			}
			w.submit(item)
		}
	}
}

// fail notes why the stream is not read any more.
func (w *submitStream) fail(err error) {
	w.mu.Lock()
	w.readErr = err
	w.mu.Unlock()
	w.signal()
}

// admit waits for room; false: the stream takes no more submits. A submit that is dropped then has had no effect, and
// the end of the stream says so.
func (w *submitStream) admit() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.unanswered >= maxUnanswered && !w.refusing {
		w.room.Wait()
	}
	if w.refusing {
		return false
	}
	w.unanswered++
	return true
}

// checkRights refuses an item for a queue that the client has no rights for.
func (w *submitStream) checkRights(item *rotav1.SubmitItem) error {
	if a := item.GetAppend(); a != nil {
		return w.call.CheckJob(a.GetJobId())
	}
	return w.call.CheckQueue(item.GetRequest().GetSpec().GetQueue())
}

func (w *submitStream) submit(item *rotav1.SubmitItem) {
	began := time.Now()
	answer := func(r fsm.Result, err error) {
		if err == nil && item.GetAppend() == nil {
			w.s.measures.submit.Add(time.Since(began))
		}
		w.answer(item, r, err)
	}
	if err := cmp.Or(wire.CheckKnown(item), w.checkRights(item)); err != nil {
		answer(fsm.Result{}, err)
		return
	}
	if item.GetAppend() != nil {
		op, err := appendOp(item.GetAppend(), w.s.rules())
		if err != nil {
			answer(fsm.Result{}, err)
			return
		}
		w.s.node.ProposeAsync(op, answer)
		return
	}
	op, spec, err := w.s.submitOp(item.GetRequest())
	if err != nil {
		answer(fsm.Result{}, err)
		return
	}
	w.s.node.SubmitAsync(op, spec, answer)
}

// answer queues the answer to an item, and follows its job if the client asked for that.
func (w *submitStream) answer(item *rotav1.SubmitItem, r fsm.Result, err error) {
	a := &rotav1.SubmitAnswer{Seq: item.GetSeq()}
	if err != nil {
		st, _ := status.FromError(wire.ToStatus(err))
		a.Code, a.Message = uint32(st.Code()), st.Message()
		for _, d := range st.Details() {
			if detail, ok := d.(*rotav1.ErrorDetail); ok {
				a.Error = detail
			}
		}
	} else {
		a.Response = w.s.submitted(item.GetRequest(), r)
	}
	var f *followed
	if err == nil && item.GetFollow() {
		f = w.follow(item.GetSeq(), r.Job)
	}
	w.holding.Take(heldBytes(a))
	w.mu.Lock()
	w.answers = append(w.answers, a)
	if f != nil && !w.gone {
		w.dirty = append(w.dirty, f)
	}
	w.mu.Unlock()
	w.signal()
}

// heldBytes is about the memory of an answer until it is sent.
func heldBytes(a *rotav1.SubmitAnswer) int64 {
	n := answerBytes + len(a.Message)
	for _, why := range a.Response.GetMissing() {
		n += len(why)
	}
	return int64(n)
}

// sent notes that answers were sent: there is room for as many submits.
func (w *submitStream) sent(answers []*rotav1.SubmitAnswer) {
	bytes := int64(0)
	for _, a := range answers {
		bytes += heldBytes(a)
	}
	w.holding.Give(bytes)
	w.mu.Lock()
	w.unanswered -= len(answers)
	w.mu.Unlock()
	w.room.Broadcast()
}

func (w *submitStream) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// write sends answers and results until the stream, the server or its leadership ends.
func (w *submitStream) write(ctx context.Context) error {
	for {
		leader := w.s.node.LeaderChanged()
		var ending error
		if err := w.s.node.CheckLeader(); err != nil {
			ending = err
		}
		if w.s.stopping.Err() != nil {
			ending = task.Errorf(task.KindUnavailable, "the server is shutting down")
		}
		if err := w.flush(); err != nil {
			return err
		}
		if done, err := w.over(ending); done {
			return err
		}
		select {
		case <-w.wake:
		case <-leader:
		case <-ctx.Done():
			if w.s.stopping.Err() == nil {
				return ctx.Err()
			}
			// What is under way is answered yet, unless there is nobody to be answered any more.
			select {
			case <-w.wake:
			case <-w.stream.Context().Done():
				return ctx.Err()
			}
		}
	}
}

// over says whether the stream has nothing left to do, and how it ends. With ending set, it takes no more submits and
// ends when all that it took are answered.
func (w *submitStream) over(ending error) (done bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ending != nil {
		w.refusing = true
		w.room.Broadcast()
		return w.unanswered == 0, ending
	}
	if refused := w.refused(); refused != nil {
		return w.unanswered == 0, refused
	}
	return w.readErr != nil && w.unanswered == 0 && len(w.followed) == 0 && len(w.dirty) == 0, nil
}

// refused is what was wrong with a message; nil: the client has ended the stream. w.mu is held.
func (w *submitStream) refused() error {
	var e *task.Error
	switch {
	case errors.As(w.readErr, &e):
		return e
	case status.Code(w.readErr) == codes.Internal:
		// gRPC could not decode it, or did not want to.
		return task.Errorf(task.KindInvalid, "%s", status.Convert(w.readErr).Message())
	}
	return nil
}

// flush sends the answers and results that wait.
func (w *submitStream) flush() error {
	for {
		w.mu.Lock()
		n := min(len(w.answers), answerBatch)
		m := &rotav1.SubmitStreamResponse{Answers: w.answers[:n:n]}
		if w.answers = w.answers[n:]; len(w.answers) == 0 {
			w.answers = nil
		}
		// Results come after all answers: a client must know a job before it gets results of it.
		var dirty []*followed
		if w.answers == nil {
			dirty, w.dirty = w.dirty, nil
			for _, f := range dirty {
				f.dirty = false
			}
		}
		w.mu.Unlock()
		size := 0
		for _, f := range dirty {
			results, more := w.results(f)
			if results != nil {
				m.Results = append(m.Results, results)
				size += proto.Size(results)
			}
			if more {
				w.changed(f)
			}
			if size > resultBytes {
				if err := w.stream.Send(m); err != nil {
					return err
				}
				w.sent(m.Answers)
				m, size = &rotav1.SubmitStreamResponse{}, 0
			}
		}
		if len(m.Answers)+len(m.Results) == 0 {
			return nil
		}
		if err := w.stream.Send(m); err != nil {
			return err
		}
		w.sent(m.Answers)
	}
}
