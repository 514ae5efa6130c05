package wire

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxUnread bounds the messages that have arrived and that no handler has looked at yet, bytes, of all connections
	// together. Beyond it, the connection with the most ends.
	maxUnread = 64 << 20
	// largeRequest is the size from which on a call counts as large, bytes, and maxUnderWay bounds the memory of all large
	// calls. Each takes about memoryFactor times its size: decoded, as an op, and in its log entry. Beyond the bound, large
	// calls are refused for the moment.
	largeRequest = 64 << 10
	maxUnderWay  = 128 << 20
	memoryFactor = 4
	// busyDelay is the pause before a refused call may be sent again.
	busyDelay = 200 * time.Millisecond
)

// serveCall takes into account a call with one request and one answer, and refuses large ones if there are too many.
func serveCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	c := connOf(ctx)
	if c == nil {
		return handle(ctx, req)
	}
	c.begins()
	defer c.ends()
	defer c.holdHeaders(ctx)()
	size := int64(0)
	if m, ok := req.(proto.Message); ok {
		size = int64(proto.Size(m))
	}
	c.hasRead(size)
	if c.isDead() { // nobody gets the answer, and a thousand others may have arrived with this one
		return nil, ToStatus(errTooMuchHeld)
	}
	if info.FullMethod == rotav1.JobService_RetryJob_FullMethodName {
		size = task.MaxRequest // it makes a request of the payloads of a job
	}
	if size >= largeRequest {
		took := size * memoryFactor
		defer c.arrivals.underWay.Add(-took)
		if c.arrivals.underWay.Add(took) > maxUnderWay {
			c.arrivals.tooLarge.busy.Add(1)
			return nil, ToStatus(&task.Error{Kind: task.KindExhausted, Msg: "the server has too many large requests under way; try again", RetryAfter: busyDelay})
		}
	}
	resp, err := handle(ctx, req)
	c.arrivals.tooLarge.answered(err)
	if err == nil && ctx.Err() == nil { // otherwise the client has gone, and no answer is sent
		resp, _ = c.answers(resp)
	}
	return resp, err
}

// serveStream takes into account the messages of a stream in both directions.
func serveStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	c := connOf(stream.Context())
	if c == nil {
		return handle(srv, stream)
	}
	c.begins()
	defer c.ends()
	defer c.holdHeaders(stream.Context())()
	counted := &countedStream{ServerStream: stream, conn: c, holding: &Holding{conn: c}, sending: &Holding{conn: c}}
	defer counted.holding.End()
	defer counted.sending.End()
	err := handle(srv, counted)
	if !counted.failed.Load() { // a message that could not be received is counted already
		c.arrivals.tooLarge.answered(err)
	}
	return err
}

type countedStream struct {
	grpc.ServerStream
	conn *arrivingConn
	// holding counts the memory of the message that was received last; current is how much that is.
	holding *Holding
	current int64
	// sending is a large message that is being sent.
	sending *Holding
	// failed: a message could not be received.
	failed atomic.Bool
}

// RecvMsg implements grpc.ServerStream. A handler that receives the next message has finished with this one.
func (s *countedStream) RecvMsg(m any) error {
	s.holding.Give(s.current)
	s.current = 0
	in := &incoming{message: m, stream: s}
	err := s.ServerStream.RecvMsg(in)
	s.conn.hasRead(int64(in.size))
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed.Store(true)
	}
	return err
}

// SendMsg implements grpc.ServerStream.
func (s *countedStream) SendMsg(m any) error {
	m, counted := s.conn.answers(m)
	if counted > largestPooled {
		// Beside the bytes to send, the message itself stays in memory until its client has taken some of it.
		s.sending.Take(counted)
		defer s.sending.Give(counted)
	}
	err := s.ServerStream.SendMsg(m)
	if err != nil { // it was not queued
		s.conn.mu.Lock()
		s.conn.answered(counted)
		s.conn.mu.Unlock()
	}
	return err
}

// isWhole takes into account a message that has arrived whole. mu is held.
func (c *arrivingConn) isWhole(size int64) {
	c.unread.Add(size)
	if c.arrivals.unread.Add(size) > c.arrivals.mostUnread {
		c.over = c.arrivals.worst(func(c *arrivingConn) int64 { return c.unread.Load() })
	}
}

// hasRead takes off the account a message that a handler has looked at.
func (c *arrivingConn) hasRead(size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wasRead(size)
}

// wasRead is hasRead with mu held. Messages of a stream that has ended before stay on the account until nothing is under way
// on the connection.
func (c *arrivingConn) wasRead(size int64) {
	size = min(size, c.unread.Load())
	c.unread.Add(-size)
	c.arrivals.unread.Add(-size)
}
