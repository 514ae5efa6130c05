package transport

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rota-scheduler/rota/internal/requestid"
	"github.com/rota-scheduler/rota/wire"
)

// callOptions are the interceptors that give every call an id, measure it and, at debug level, log it. They come first, so that they see
// what others refuse.
func (s *Server) callOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(s.unaryCall), grpc.ChainStreamInterceptor(s.streamCall)}
}

// unaryCall serves a call that is no stream.
func (s *Server) unaryCall(ctx context.Context, req any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx = wire.WithRequestID(ctx)
	if about, ok := req.(interface{ GetJobId() uint64 }); ok {
		ctx = requestid.WithJob(ctx, about.GetJobId())
	}
	c, began := s.measures.of(call.FullMethod), time.Now()
	resp, err := handle(ctx, req)
	took := time.Since(began)
	c.took.Add(took)
	c.count(err)
	s.tell(ctx, call.FullMethod, took, err)
	return resp, err
}

// streamCall serves a stream.
func (s *Server) streamCall(srv any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx, began := wire.WithRequestID(stream.Context()), time.Now()
	err := handle(srv, identified{stream, ctx})
	s.measures.of(call.FullMethod).count(err)
	s.tell(ctx, call.FullMethod, time.Since(began), err)
	return err
}

// identified is a stream whose context has the id of its call.
type identified struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s identified) Context() context.Context { return s.ctx }

// tell logs the end of a call. A fault of this server is a warning, whoever has caused it.
func (s *Server) tell(ctx context.Context, method string, took time.Duration, err error) {
	code := status.Code(err)
	if code == codes.Internal || code == codes.Unknown || code == codes.DataLoss {
		s.lines.Warn("a call has met a fault of this server", "method", shortMethod(method), "request_id", requestid.From(ctx), "error", err)
	}
	s.log.DebugContext(ctx, "a call has ended", "method", shortMethod(method), "code", code.String(), "took", took, "error", err)
}
