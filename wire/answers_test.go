package wire

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// goneStream is a stream of which the client is gone.
type goneStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s goneStream) Context() context.Context { return s.ctx }
func (goneStream) SendMsg(any) error          { return status.Error(codes.Canceled, "the client is gone") }

// Each connection has a stream on which leaders are announced, and which lasts as long as the connection. Answers
// that were never sent on it once stayed counted all that time, until good connections were ended because of them.
func TestAnswersThatAreNotPutOutAreNotCounted(t *testing.T) {
	t.Parallel()
	b := newArrivalsBundle(t)
	c := b.conn()
	c.came(frame(frameHeaders, 4, 1, 1))
	ctx, cancel := context.WithCancel(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: guardedInfo{conn: c}}))
	answer := &rotav1.SubmitResponse{JobId: 7, AppliedIndex: 300}

	resp, err := serveCall(ctx, &rotav1.SubmitRequest{}, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) {
		cancel()
		return answer, nil
	})
	require.NoError(t, err)
	require.NotNil(t, resp)
	require.Zero(t, b.unsent.Load(), "a call that has ended meanwhile")

	err = serveStream(nil, goneStream{ctx: ctx}, nil, func(_ any, s grpc.ServerStream) error { return s.SendMsg(answer) })
	require.Equal(t, codes.Canceled, status.Code(err))
	require.Zero(t, b.unsent.Load(), "a stream that has ended meanwhile")
}
