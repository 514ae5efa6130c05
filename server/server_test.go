package server

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/wire"
)

// wait is how long a condition may take to come true.
const wait = 30 * time.Second

// alone is the configuration of a server that is a cluster of its own.
func alone(t *testing.T) Config {
	t.Helper()
	first, err := ports.Take(3)
	require.NoError(t, err)
	t.Cleanup(func() { ports.Release(first) })
	addr := ports.Loopback(first)
	return Config{Node: node.Config{
		NodeID: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), BootstrapExpect: 1, Join: []string{addr},
		Addr: addr, PeerAddr: ports.Loopback(first + 1), HTTPAddr: ports.Loopback(first + 2),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test",
		Fatal: func(err error) { t.Errorf("the server must stop: %v", err) },
	}}
}

func ended(t *testing.T, end func() error) {
	t.Helper()
	require.NoError(t, end())
}

// ready waits until a server says that it is.
func ready(t *testing.T, cfg Config) {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Eventually(t, func() bool {
		resp, err := c.Get("http://" + cfg.Node.HTTPAddr + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, wait, 5*time.Millisecond)
}

func TestAServerComesBackToItsPortsAndItsFolder(t *testing.T) {
	t.Parallel()
	cfg := alone(t)
	for _, end := range []func(*Server) error{
		func(s *Server) error { return s.Stop(context.Background()) },
		(*Server).Kill,
		(*Server).Kill,
	} {
		s, err := Start(cfg)
		require.NoError(t, err)
		ready(t, cfg)
		require.NoError(t, end(s))
		for _, addr := range []string{cfg.Node.Addr, cfg.Node.PeerAddr, cfg.Node.HTTPAddr} {
			l, err := net.Listen("tcp", addr)
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
	}
}

// A server that was started by mistake leaves the ports and the folder of the other one alone.
func TestASecondServerTouchesNothing(t *testing.T) {
	t.Parallel()
	cfg := alone(t)
	s, err := Start(cfg)
	require.NoError(t, err)
	defer ended(t, s.Kill)
	for _, flag := range []string{"--addr", "--peer-addr", "--http-addr"} {
		second := alone(t)
		switch flag {
		case "--addr":
			second.Node.Addr = cfg.Node.Addr
		case "--peer-addr":
			second.Node.PeerAddr = cfg.Node.PeerAddr
		case "--http-addr":
			second.Node.HTTPAddr = cfg.Node.HTTPAddr
		}
		_, err := Start(second)
		require.ErrorContains(t, err, "choose another "+flag)
		_, err = os.Stat(second.Node.DataDir)
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	ready(t, cfg)
}

func TestAFailedStartClosesItsPorts(t *testing.T) {
	t.Parallel()
	cfg := alone(t)
	require.NoError(t, os.WriteFile(cfg.Node.DataDir, nil, 0o600))
	_, err := Start(cfg)
	require.Error(t, err)
	require.NoError(t, os.Remove(cfg.Node.DataDir))
	s, err := Start(cfg)
	require.NoError(t, err)
	ended(t, s.Kill)
}

// Handlers ask the state, which is closed with the node.
func TestNoHandlerOutlivesItsServer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*Server) error{
		"stop": func(s *Server) error { return s.Stop(context.Background()) },
		"kill": (*Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := alone(t)
			running, began, outlived := make(chan *Server, 1), make(chan struct{}), make(chan bool, 1)
			s, err := start(cfg, grpc.ChainUnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
				n := (<-running).Node()
				close(began)
				<-ctx.Done()
				// Long enough for a server that does not wait to close the node meanwhile.
				asking, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
				defer cancel()
				err := n.WaitApplied(asking, math.MaxUint64)
				outlived <- asking.Err() == nil
				return nil, err
			}))
			require.NoError(t, err)
			ready(t, cfg)
			conn, err := wire.Dial(cfg.Node.Addr)
			require.NoError(t, err)
			defer ended(t, conn.Close)
			running <- s
			answered := make(chan error, 1)
			go func() {
				_, err := rotav1.NewClusterServiceClient(conn).Status(t.Context(), &rotav1.StatusRequest{})
				answered <- err
			}()
			<-began
			require.NoError(t, end(s))
			require.Error(t, <-answered)
			select {
			case out := <-outlived:
				require.False(t, out, "the node was closed under a handler")
			default:
				t.Fatal("the handler has not ended")
			}
		})
	}
}
