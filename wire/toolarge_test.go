package wire_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// strictServer refuses what has a name.
type strictServer struct {
	rotav1.UnimplementedJobServiceServer
}

func (strictServer) Submit(_ context.Context, r *rotav1.SubmitRequest) (*rotav1.SubmitResponse, error) {
	if r.GetSpec().GetName() != "" {
		return nil, wire.ToStatus(task.Errorf(task.KindTooLarge, "a name is too much"))
	}
	return &rotav1.SubmitResponse{JobId: 1}, nil
}

func (strictServer) SubmitStream(stream grpc.BidiStreamingServer[rotav1.SubmitStreamRequest, rotav1.SubmitStreamResponse]) error {
	_, err := stream.Recv()
	return wire.ToStatus(err)
}

// strict serves a strictServer behind a door.
func strict(t *testing.T) (*wire.Door, rotav1.JobServiceClient) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	door, server := wire.NewDoor(l, 10), grpc.NewServer(wire.ServerOptions()...)
	rotav1.RegisterJobServiceServer(server, strictServer{})
	done := make(chan error, 1)
	go func() { done <- server.Serve(door) }()
	conn, err := wire.Dial(l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-done)
	})
	return door, rotav1.NewJobServiceClient(conn)
}

func TestRequestsThatAreTooLargeAreCountedByReason(t *testing.T) {
	t.Parallel()
	door, jobs := strict(t)
	require.Equal(t, map[string]int64{"message": 0, "elements": 0, "limit": 0, "busy": 0}, door.TooLarge())
	submit := func(spec *rotav1.JobSpec) error {
		_, err := jobs.Submit(t.Context(), &rotav1.SubmitRequest{Spec: spec})
		return err
	}
	require.NoError(t, submit(&rotav1.JobSpec{}))
	large := bytes.Repeat([]byte("x"), task.MaxRequest+100<<10)
	require.Error(t, submit(&rotav1.JobSpec{SharedPayload: large}))
	require.Error(t, submit(&rotav1.JobSpec{Name: "n"}))
	many := &rotav1.JobSpec{SharedPayload: large[:100<<10]}
	for range wire.MaxElements {
		many.Values = append(many.Values, &rotav1.ValueRun{})
	}
	require.Error(t, submit(many))
	require.Equal(t, map[string]int64{"message": 1, "elements": 1, "limit": 1, "busy": 0}, door.TooLarge())

	stream, err := jobs.SubmitStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&rotav1.SubmitStreamRequest{Submits: []*rotav1.SubmitItem{{Request: &rotav1.SubmitRequest{Spec: &rotav1.JobSpec{SharedPayload: large}}}}}))
	_, err = stream.Recv()
	require.Error(t, err)
	require.Equal(t, map[string]int64{"message": 2, "elements": 1, "limit": 1, "busy": 0}, door.TooLarge(), "once each")
}

// Eight KiB of metadata are more than any honest call has.
func TestMetadataIsBounded(t *testing.T) {
	t.Parallel()
	_, jobs := strict(t)
	submit := func(bytes int) error {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", bytes))
		_, err := jobs.Submit(ctx, &rotav1.SubmitRequest{Spec: &rotav1.JobSpec{}})
		return err
	}
	require.NoError(t, submit(7<<10))
	require.Error(t, submit(9<<10))
	require.NoError(t, submit(0), "the connection is as it was")
}
