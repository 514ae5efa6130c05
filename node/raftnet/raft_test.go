package raftnet

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// patience is how long a condition may take to come true.
const patience = 60 * time.Second

// testTimeout is raft's election timeout: elections are not what these tests wait for.
const testTimeout = 50 * time.Millisecond

// testServer is a server that is raft and its transport, and nothing else.
type testServer struct {
	*raft.Raft
	net *Transport
	id  raft.ServerID
	at  raft.ServerAddress
	end func()
}

// stores is a log and a stable store.
type stores interface {
	raft.LogStore
	raft.StableStore
}

// newServer starts a server without a configuration.
func newServer(t *testing.T, log stores) *testServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &testServer{id: "n1/a", at: raft.ServerAddress(l.Addr().String())}
	s.net = New(Config{
		Self: s.id, Addr: string(s.at), Listener: l, ClusterID: func() string { return "" }, Ask: func(context.Context) {},
		ElectionTimeout: testTimeout, Logger: slog.New(slog.DiscardHandler),
	})
	s.start(t, log, testTimeout)
	return s
}

// start makes raft with the transport, and ends both with the test.
func (s *testServer) start(t *testing.T, log stores, timeout time.Duration) {
	t.Helper()
	rc := raft.DefaultConfig()
	rc.LocalID, rc.Logger = s.id, NewLogger(slog.New(slog.DiscardHandler))
	rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout = timeout, timeout, timeout
	rc.CommitTimeout, rc.ShutdownOnRemove = 5*time.Millisecond, false
	var err error
	s.Raft, err = raft.NewRaft(rc, nothing{}, log, log, raft.NewDiscardSnapshotStore(), s.net)
	require.NoError(t, err)
	s.net.Attach(s.Raft, s.reload)
	ended := false
	s.end = func() {
		if !ended {
			ended = true
			require.NoError(t, s.Shutdown().Error())
		}
	}
	t.Cleanup(s.end)
}

// reload changes raft's configuration.
func (s *testServer) reload(change func(*raft.ReloadableConfig)) error {
	rc := s.ReloadableConfig()
	change(&rc)
	return s.ReloadConfig(rc)
}

// newLeader starts a server that is a cluster of its own.
func newLeader(t *testing.T, log stores) *testServer {
	t.Helper()
	s := newServer(t, log)
	require.NoError(t, s.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: s.id, Address: s.at}}}).Error())
	s.waitReady(t)
	return s
}

// waitReady waits until the server leads, and has applied all that was committed before.
func (s *testServer) waitReady(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return s.State() == raft.Leader && s.Barrier(patience).Error() == nil }, patience, time.Millisecond)
}

// nothing is a state machine without a state.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nil, raft.ErrNothingNewToSnapshot }
func (nothing) Restore(snapshot io.ReadCloser) error { return snapshot.Close() }
