package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/leaks"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// clusterServer answers Status with err, or cuts the connection if err is nil.
type clusterServer struct {
	rotav1.UnimplementedClusterServiceServer
	status func() (*rotav1.StatusResponse, error)
}

func (s *clusterServer) Status(context.Context, *rotav1.StatusRequest) (*rotav1.StatusResponse, error) {
	return s.status()
}

// serve starts a server in memory and returns a client of it, and the means to cut
// its connections.
func serve(t *testing.T, impl rotav1.ClusterServiceServer) (rotav1.ClusterServiceClient, *grpc.Server) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(wire.ServerOptions()...)
	rotav1.RegisterClusterServiceServer(server, impl)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := wire.Dial("server:7420", wire.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != "server:7420" {
			return nil, fmt.Errorf("dialed %q", addr)
		}
		return listener.DialContext(ctx)
	}))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-done)
	})
	return rotav1.NewClusterServiceClient(conn), server
}

func TestErrorsReachTheClientWithTheirDetail(t *testing.T) {
	t.Parallel()
	want := &task.Error{Kind: task.KindExhausted, Msg: "the queue is full", RetryAfter: 3 * time.Second, Leader: "b:1"}
	client, _ := serve(t, &clusterServer{status: func() (*rotav1.StatusResponse, error) { return nil, wire.ToStatus(want) }})
	_, err := client.Status(t.Context(), &rotav1.StatusRequest{})
	require.Equal(t, want, wire.FromStatus(err))
}

func TestCallThatWasNeverSentIsADefiniteFailure(t *testing.T) {
	t.Parallel()
	conn, err := wire.Dial("down:7420", wire.WithDialer(func(context.Context, string) (net.Conn, error) {
		return nil, errors.New("connection refused")
	}))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = rotav1.NewClusterServiceClient(conn).Status(t.Context(), &rotav1.StatusRequest{})
	err = wire.FromStatus(err)
	require.ErrorIs(t, err, task.ErrUnavailable)
	require.ErrorContains(t, err, "connection refused")
}

func TestCallThatTimedOutBeforeItWasSentIsADefiniteFailure(t *testing.T) {
	t.Parallel()
	conn, err := wire.Dial("silent:7420", wire.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = rotav1.NewClusterServiceClient(conn).Status(ctx, &rotav1.StatusRequest{})
	err = wire.FromStatus(err)
	require.ErrorIs(t, err, task.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestConnectionCutUnderACallLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	impl := &clusterServer{}
	client, server := serve(t, impl)
	stopped := make(chan struct{})
	impl.status = func() (*rotav1.StatusResponse, error) {
		go func() { defer close(stopped); server.Stop() }()
		// Stop waits for handlers, but cuts their connections first: the answer of
		// this one has nowhere to go.
		return nil, wire.ToStatus(context.Canceled)
	}
	_, err := client.Status(t.Context(), &rotav1.StatusRequest{})
	require.ErrorIs(t, wire.FromStatus(err), task.ErrUnknownOutcome)
	<-stopped
}

func TestParseAddrs(t *testing.T) {
	t.Parallel()
	addrs, err := wire.ParseAddrs(" a:1, [::1]:7420,a:1,b.example:65535 ")
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "[::1]:7420", "b.example:65535"}, addrs)

	for list, want := range map[string]string{
		"":          "no server address",
		"  ":        "no server address",
		"a:1,":      "empty one",
		"localhost": "expected host:port",
		":7420":     "no host",
		"a:":        "no valid port",
		"a:0":       "no valid port",
		"a:65536":   "no valid port",
		"a:http":    "no valid port",
		"::1:7420":  "expected host:port",
	} {
		_, err := wire.ParseAddrs(list)
		require.ErrorIs(t, err, task.ErrInvalid, list)
		require.ErrorContains(t, err, want, list)
	}
}
