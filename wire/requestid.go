package wire

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/internal/requestid"
)

// RequestIDKey is the metadata key of the id of a request.
const RequestIDKey = "rota-request-id"

// sendRequestID and sendRequestIDOnStream send the id of the request of a context, if it has one.
func sendRequestID(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(outgoing(ctx), method, req, reply, conn, opts...)
}

func sendRequestIDOnStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, begin grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return begin(outgoing(ctx), desc, conn, method, opts...)
}

func outgoing(ctx context.Context) context.Context {
	if id := requestid.From(ctx); id != "" {
		return metadata.AppendToOutgoingContext(ctx, RequestIDKey, id)
	}
	return ctx
}

// WithRequestID returns the context of a call that has arrived, with the id that its client has given, or with a new one.
func WithRequestID(ctx context.Context) context.Context {
	md, _ := metadata.FromIncomingContext(ctx)
	if ids := md.Get(RequestIDKey); len(ids) == 1 && requestid.Valid(ids[0]) {
		return requestid.With(ctx, ids[0])
	}
	return requestid.With(ctx, requestid.New())
}
