package wire

import (
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"
)

const (
	// maxHeaders bounds the metadata of a call, bytes as HTTP/2 counts them: 32 more for each field.
	maxHeaders = 8 << 10
	// fieldCost is about what a field takes in memory beside its bytes, and plainHeaders what the
	// metadata of a call may take without being counted, which is twice that of gRPC's own, bytes.
	fieldCost    = 100
	plainHeaders = 2 << 10
)

// headersKey is the key of what the metadata of a call takes, where that is much.
type headersKey struct{}

// weighHeaders notes what the metadata of a call takes. It is in memory until the call ends: a few
// hundred fields of two bytes, which are one each on the wire, on each of thousands of streams,
// take what a server has.
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

// holdHeaders takes what the metadata of a call takes into account, until release is called.
func (c *arrivingConn) holdHeaders(ctx context.Context) (release func()) {
	cost, much := ctx.Value(headersKey{}).(int64)
	if !much {
		return func() {}
	}
	h := &Holding{conn: c}
	h.Take(cost)
	return h.End
}
