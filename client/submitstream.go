package client

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// maxSubmits bounds the submits and appends in one message, and maxSubmitBytes their size: a message must stay below
// what servers take, and a small submit must not wait behind megabytes.
const (
	maxSubmits     = 1024
	maxSubmitBytes = 256 << 10
)

// submitStream carries the submits and appends of all callers to one server over one stream. Those that wait are
// sent together. That costs a fraction of a call each, and the server puts those that arrive together into one log
// entry.
type submitStream struct {
	c      *Client
	server *server

	mu      sync.Mutex
	running bool
	wake    chan struct{}
	seq     uint64
	queue   []*streamedCall
	// sent is the calls that were sent and are not answered yet, or whose jobs are followed, by their numbers.
	sent map[uint64]*streamedCall
}

// streamedCall is one submit or append on its way.
type streamedCall struct {
	item *rotav1.SubmitItem
	size int
	// answered gets the answer, once.
	answered chan streamedAnswer
	// followed gets the results of a followed job once it is complete, or nil if they must be read in another
	// way.
	followed chan []*rotav1.ResultGroup
	groups   []*rotav1.ResultGroup
	done     bool
}

type streamedAnswer struct {
	resp *rotav1.SubmitResponse
	err  error
}

func newSubmitStream(c *Client, to *server) *submitStream {
	return &submitStream{c: c, server: to, wake: make(chan struct{}, 1), sent: map[uint64]*streamedCall{}}
}

// submit is like the call Submit. With follow it also returns the channel that gets the results.
func (s *submitStream) submit(ctx context.Context, req *rotav1.SubmitRequest, follow bool) (*rotav1.SubmitResponse, <-chan []*rotav1.ResultGroup, error) {
	call := &streamedCall{
		item: &rotav1.SubmitItem{Request: req, Follow: follow}, answered: make(chan streamedAnswer, 1),
		size: len(req.GetTasks().GetPackedPayloads()) + len(req.GetSpec().GetSharedPayload()) + 256,
	}
	if follow {
		call.followed = make(chan []*rotav1.ResultGroup, 1)
	}
	if !s.enqueue(call) {
		return nil, nil, ErrClosed
	}
	resp, err := s.wait(ctx, call)
	return resp, call.followed, err
}

// append is like the call AppendTasks. queued is called once the request has its place in the stream, or will not
// get one.
func (s *submitStream) append(ctx context.Context, req *rotav1.AppendTasksRequest, queued func()) error {
	call := &streamedCall{
		item: &rotav1.SubmitItem{Append: req}, answered: make(chan streamedAnswer, 1),
		size: len(req.GetTasks().GetPackedPayloads()) + 256,
	}
	ok := s.enqueue(call)
	queued()
	if !ok {
		return ErrClosed
	}
	_, err := s.wait(ctx, call)
	return err
}

// wait waits for the answer to a call that is queued.
func (s *submitStream) wait(ctx context.Context, call *streamedCall) (*rotav1.SubmitResponse, error) {
	select {
	case a := <-call.answered:
		return a.resp, a.err
	case <-ctx.Done():
		if s.withdraw(call) {
			// It never left this process.
			return nil, wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not sent", Err: ctx.Err()})
		}
		select {
		case a := <-call.answered:
			// The answer arrived as time ran out: a known outcome must not be reported as unknown.
			return a.resp, a.err
		default:
			return nil, ctx.Err()
		}
	}
}

// enqueue queues a call and starts the stream if there is none.
func (s *submitStream) enqueue(call *streamedCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running && !s.c.goBackground(s.run) {
		return false
	}
	s.running = true
	s.seq++
	call.item.Seq = s.seq
	s.queue = append(s.queue, call)
	notify(s.wake)
	return true
}

// withdraw takes back a call, if it was not sent yet.
func (s *submitStream) withdraw(call *streamedCall) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, q := range s.queue {
		if q == call {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			return true
		}
	}
	return false
}

// run keeps a stream for as long as it lasts. The next call starts another one.
func (s *submitStream) run() {
	ctx, cancel := context.WithCancel(s.c.finder.Naming(s.c.ctx))
	defer cancel()
	var to peer.Peer
	stream, err := s.server.jobs.SubmitStream(ctx, grpc.Peer(&to))
	if err != nil {
		s.end(nil, neverSent(err))
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := s.write(ctx, stream); err != nil && !errors.Is(err, io.EOF) {
			cancel() // the reader learns the server's reason on io.EOF
		}
	})
	err = s.read(stream)
	if to.Addr == nil {
		err = neverSent(err)
	}
	s.end(func() { cancel(); writer.Wait() }, err)
}

// neverSent is the error of a stream that got no connection: nothing reached the server, so the outcome is known.
func neverSent(err error) error {
	return wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: wire.FromStatus(err).Error()})
}

// write sends the calls that wait.
func (s *submitStream) write(ctx context.Context, stream grpc.BidiStreamingClient[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	for {
		if req := s.take(); req != nil {
			if err := stream.Send(req); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// take moves as many calls as fit into a message from queue to sent; nil: none waits.
func (s *submitStream) take() *rotav1.SubmitStreamRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		return nil
	}
	req := &rotav1.SubmitStreamRequest{}
	n, size := 0, 0
	for n < len(s.queue) && n < maxSubmits && (n == 0 || size+s.queue[n].size <= maxSubmitBytes) {
		call := s.queue[n]
		size += call.size
		req.Submits = append(req.Submits, call.item)
		s.sent[call.item.Seq] = call
		n++
	}
	clear(s.queue[:n])
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	return req
}

// read gives answers and results to their callers.
func (s *submitStream) read(stream grpc.BidiStreamingClient[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		s.mu.Lock()
		for _, a := range msg.GetAnswers() {
			s.answer(a)
		}
		for _, r := range msg.GetResults() {
			s.results(r)
		}
		s.mu.Unlock()
	}
}

// answer gives an answer to its caller. s.mu is held.
func (s *submitStream) answer(a *rotav1.SubmitAnswer) {
	call := s.sent[a.GetSeq()]
	if call == nil || call.done {
		return
	}
	call.done = true
	if a.GetCode() == uint32(codes.OK) {
		call.answered <- streamedAnswer{resp: a.GetResponse()}
		if call.followed != nil {
			return
		}
	} else {
		call.answered <- streamedAnswer{err: answerError(a)}
	}
	delete(s.sent, a.GetSeq())
}

// answerError is the error that the same answer to a call of its own would have been.
func answerError(a *rotav1.SubmitAnswer) error {
	st := status.New(codes.Code(a.GetCode()), a.GetMessage())
	if detailed, err := st.WithDetails(a.GetError()); a.GetError() != nil && err == nil {
		st = detailed
	}
	return st.Err()
}

// results collects the results of a followed job. s.mu is held.
func (s *submitStream) results(r *rotav1.FollowedResults) {
	call := s.sent[r.GetSeq()]
	if call == nil || call.followed == nil {
		return
	}
	call.groups = append(call.groups, r.GetGroups()...)
	switch {
	case r.GetLost():
		call.followed <- nil
	case r.GetComplete():
		call.followed <- call.groups
	default:
		return
	}
	delete(s.sent, r.GetSeq())
}

// end ends a stream and tells everyone who waits. Calls that were not sent get an error that says so.
func (s *submitStream) end(stop func(), err error) {
	if stop != nil {
		stop()
	}
	if errors.Is(err, io.EOF) {
		// The server ended the stream in good order, but not all of it was answered.
		err = status.Error(codes.Unavailable, "the server has ended the stream")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, call := range s.sent {
		if !call.done {
			call.answered <- streamedAnswer{err: err}
		} else if call.followed != nil {
			call.followed <- nil
		}
	}
	s.sent = map[uint64]*streamedCall{}
	unsent := wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not sent", Leader: leaderOf(err), Err: wire.FromStatus(err)})
	switch task.KindOf(wire.FromStatus(err)) {
	case task.KindOtherCluster, task.KindUnauthenticated, task.KindDenied: // another stream would be refused as well
		unsent = err
	}
	for _, call := range s.queue {
		call.answered <- streamedAnswer{err: unsent}
	}
	s.queue, s.running = nil, false
}

// leaderOf is the leader that an error names.
func leaderOf(err error) string {
	var e *task.Error
	if errors.As(wire.FromStatus(err), &e) {
		return e.Leader
	}
	return ""
}
