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

// muxBatch bounds the submits in one message, and muxBytes their size: a message must
// stay below what servers take, and one small submit must not wait behind megabytes.
const (
	muxBatch = 1024
	muxBytes = 256 << 10
)

// submitMux carries the submits of all callers to one server over one stream: what
// waits goes out together. It costs a fraction of a call each, and the servers put
// what comes together into one log entry.
type submitMux struct {
	c      *Client
	server *server

	mu      sync.Mutex
	running bool
	wake    chan struct{}
	seq     uint64
	queue   []*muxCall
	// sent is what was sent and is not answered, or is followed, by its number.
	sent map[uint64]*muxCall
}

// muxCall is one submit or append on its way.
type muxCall struct {
	item *rotav1.SubmitItem
	size int
	// answered gets the answer, once.
	answered chan muxAnswer
	// followed gets the results of a followed job, once it is complete, or nil where
	// they must be had another way.
	followed chan []*rotav1.ResultGroup
	groups   []*rotav1.ResultGroup
	done     bool
}

type muxAnswer struct {
	resp *rotav1.SubmitResponse
	err  error
}

func newSubmitMux(c *Client, s *server) *submitMux {
	return &submitMux{c: c, server: s, wake: make(chan struct{}, 1), sent: map[uint64]*muxCall{}}
}

// submit is like the call Submit. With follow it also returns where the results will be.
func (m *submitMux) submit(ctx context.Context, req *rotav1.SubmitRequest, follow bool) (*rotav1.SubmitResponse, <-chan []*rotav1.ResultGroup, error) {
	call := &muxCall{
		item: &rotav1.SubmitItem{Request: req, Follow: follow}, answered: make(chan muxAnswer, 1),
		size: len(req.GetTasks().GetPackedPayloads()) + len(req.GetSpec().GetSharedPayload()) + 256,
	}
	if follow {
		call.followed = make(chan []*rotav1.ResultGroup, 1)
	}
	if !m.enqueue(call) {
		return nil, nil, ErrClosed
	}
	resp, err := m.wait(ctx, call)
	return resp, call.followed, err
}

// append is like the call AppendTasks. queued is called once the request has its place
// in the stream, or will have none.
func (m *submitMux) append(ctx context.Context, req *rotav1.AppendTasksRequest, queued func()) error {
	call := &muxCall{
		item: &rotav1.SubmitItem{Append: req}, answered: make(chan muxAnswer, 1),
		size: len(req.GetTasks().GetPackedPayloads()) + 256,
	}
	ok := m.enqueue(call)
	queued()
	if !ok {
		return ErrClosed
	}
	_, err := m.wait(ctx, call)
	return err
}

// wait waits for the answer to a call that is queued.
func (m *submitMux) wait(ctx context.Context, call *muxCall) (*rotav1.SubmitResponse, error) {
	select {
	case a := <-call.answered:
		return a.resp, a.err
	case <-ctx.Done():
		if m.withdraw(call) {
			// It never left this process.
			return nil, wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not sent", Err: ctx.Err()})
		}
		select {
		case a := <-call.answered:
			// It arrived as time ran out: a known outcome must not be reported as unknown.
			return a.resp, a.err
		default:
			return nil, ctx.Err()
		}
	}
}

// enqueue queues a call and starts the stream if there is none.
func (m *submitMux) enqueue(call *muxCall) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running && !m.c.goBackground(m.run) {
		return false
	}
	m.running = true
	m.seq++
	call.item.Seq = m.seq
	m.queue = append(m.queue, call)
	notify(m.wake)
	return true
}

// withdraw takes a call back that was not sent yet.
func (m *submitMux) withdraw(call *muxCall) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, q := range m.queue {
		if q == call {
			m.queue = append(m.queue[:i], m.queue[i+1:]...)
			return true
		}
	}
	return false
}

// run keeps a stream for as long as it lasts. The next call starts another one.
func (m *submitMux) run() {
	ctx, cancel := context.WithCancel(m.c.finder.Naming(m.c.ctx))
	defer cancel()
	var to peer.Peer
	stream, err := m.server.jobs.SubmitStream(ctx, grpc.Peer(&to))
	if err != nil {
		m.end(nil, neverSent(err))
		return
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := m.write(ctx, stream); err != nil && !errors.Is(err, io.EOF) {
			cancel() // the reader learns the server's reason on io.EOF
		}
	})
	err = m.read(stream)
	if to.Addr == nil {
		err = neverSent(err)
	}
	m.end(func() { cancel(); writer.Wait() }, err)
}

// neverSent is the error of a stream that got no connection: a server that is down is
// known not to have done anything.
func neverSent(err error) error {
	return wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: wire.FromStatus(err).Error()})
}

// write sends what waits.
func (m *submitMux) write(ctx context.Context, stream grpc.BidiStreamingClient[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	for {
		if req := m.take(); req != nil {
			if err := stream.Send(req); err != nil {
				return err
			}
			continue
		}
		select {
		case <-m.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// take moves what fits a message from the queue to what is sent; nil: nothing waits.
func (m *submitMux) take() *rotav1.SubmitStreamRequest {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		return nil
	}
	req := &rotav1.SubmitStreamRequest{}
	n, size := 0, 0
	for n < len(m.queue) && n < muxBatch && (n == 0 || size+m.queue[n].size <= muxBytes) {
		call := m.queue[n]
		size += call.size
		req.Submits = append(req.Submits, call.item)
		m.sent[call.item.Seq] = call
		n++
	}
	clear(m.queue[:n])
	if m.queue = m.queue[n:]; len(m.queue) == 0 {
		m.queue = nil
	}
	return req
}

// read gives answers and results to their callers.
func (m *submitMux) read(stream grpc.BidiStreamingClient[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		m.mu.Lock()
		for _, a := range msg.GetAnswers() {
			m.answer(a)
		}
		for _, r := range msg.GetResults() {
			m.results(r)
		}
		m.mu.Unlock()
	}
}

// answer gives one answer to its caller. m.mu is held.
func (m *submitMux) answer(a *rotav1.SubmitAnswer) {
	call := m.sent[a.GetSeq()]
	if call == nil || call.done {
		return
	}
	call.done = true
	if a.GetCode() == uint32(codes.OK) {
		call.answered <- muxAnswer{resp: a.GetResponse()}
		if call.followed != nil {
			return
		}
	} else {
		call.answered <- muxAnswer{err: answerError(a)}
	}
	delete(m.sent, a.GetSeq())
}

// answerError is the error that the same answer to a call of its own would have been.
func answerError(a *rotav1.SubmitAnswer) error {
	st := status.New(codes.Code(a.GetCode()), a.GetMessage())
	if detailed, err := st.WithDetails(a.GetError()); a.GetError() != nil && err == nil {
		st = detailed
	}
	return st.Err()
}

// results collects the results of a followed job. m.mu is held.
func (m *submitMux) results(r *rotav1.FollowedResults) {
	call := m.sent[r.GetSeq()]
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
	delete(m.sent, r.GetSeq())
}

// end ends a stream and tells everyone who waits. What was not sent goes to the next
// stream if this one ever worked; else it is refused.
func (m *submitMux) end(stop func(), err error) {
	if stop != nil {
		stop()
	}
	if errors.Is(err, io.EOF) {
		// The server ended the stream in good order, but not all of it was answered.
		err = status.Error(codes.Unavailable, "the server has ended the stream")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, call := range m.sent {
		if !call.done {
			call.answered <- muxAnswer{err: err}
		} else if call.followed != nil {
			call.followed <- nil
		}
	}
	m.sent = map[uint64]*muxCall{}
	unsent := wire.ToStatus(&task.Error{Kind: task.KindUnavailable, Msg: "not sent", Leader: leaderOf(err), Err: wire.FromStatus(err)})
	if errors.Is(wire.FromStatus(err), task.ErrOtherCluster) {
		unsent = err
	}
	for _, call := range m.queue {
		call.answered <- muxAnswer{err: unsent}
	}
	m.queue, m.running = nil, false
}

// leaderOf is the leader that an error names.
func leaderOf(err error) string {
	var e *task.Error
	if errors.As(wire.FromStatus(err), &e) {
		return e.Leader
	}
	return ""
}
