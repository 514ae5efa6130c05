package wire

import (
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
)

const (
	// maxHeaders bounds the metadata of a call, bytes as HTTP/2 counts them, which adds 32 for each field.
	maxHeaders = 8 << 10
	// fieldCost is about the memory of a field beside its bytes. plainHeaders is how much memory the metadata of a call
	// may take without being counted: twice that of gRPC's own. Both are bytes.
	fieldCost    = 100
	plainHeaders = 2 << 10
)

// headersKey is the context key of the memory of a call's metadata, if that is much.
type headersKey struct{}

// weighHeaders notes how much memory the metadata of a call takes, until the call ends. A few hundred fields of two bytes,
// which are one byte each on the wire, on each of thousands of streams would take all memory of a server.
func weighHeaders(ctx context.Context, info *tap.Info) (context.Context, error) {
	if cost := costOf(info.Header); cost > plainHeaders {
		ctx = context.WithValue(ctx, headersKey{}, cost)
	}
	return ctx, nil
}

func costOf(md metadata.MD) (cost int64) {
	for name, values := range md {
		cost += fieldCost + int64(len(name))
		for _, v := range values {
			cost += int64(len(v)) + 16
		}
	}
	return cost
}

// holdHeaders takes into account the memory of a call's metadata, until release is called.
func (c *arrivingConn) holdHeaders(ctx context.Context) (release func()) {
	cost, much := ctx.Value(headersKey{}).(int64)
	if !much {
		return func() {}
	}
	h := &Holding{conn: c}
	h.Take(cost)
	return h.End
}
