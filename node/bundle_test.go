package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sealedfile"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/task"
)

// patience is how long a condition may take to come true.
const patience = 60 * time.Second

// config is that of a server that is a cluster of its own.
func config(t *testing.T, dir string) Config {
	return Config{
		// Nobody else looks for it, so it can listen elsewhere.
		NodeID: "n1", DataDir: dir, Addr: "127.0.0.1:1", PeerAddr: "127.0.0.1:2", BootstrapExpect: 1,
		// Elections are not what these tests wait for.
		ElectionTimeout: 50 * time.Millisecond,
		Logger:          slog.New(slog.DiscardHandler),
		Fatal:           func(err error) { t.Errorf("the server must stop: %v", err) },
	}
}

// kills says of each server whether the test has ended it.
var kills sync.Map

func ended(n *Node) {
	if killed, ok := kills.Load(n); ok {
		killed.(*atomic.Bool).Store(true)
	}
}

// startErr starts a server on a port of its own.
func startErr(t *testing.T, cfg Config) (*Node, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.RaftListener = l
	n, err := Start(cfg)
	if err != nil {
		_ = l.Close()
	}
	return n, err
}

// start starts a server and waits until it is ready to lead. The test ends it, or
// forgets about it.
func start(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := startErr(t, cfg)
	require.NoError(t, err)
	killed := new(atomic.Bool)
	kills.Store(n, killed)
	t.Cleanup(func() {
		if !killed.Load() {
			require.NoError(t, n.Kill())
		}
	})
	require.Eventually(t, func() bool { _, ok := n.Ready(); return ok }, patience, time.Millisecond)
	return n
}

// refused requires that a start fails, and says so in words that an operator can use.
func refused(t *testing.T, cfg Config, words ...string) {
	t.Helper()
	requireWords(t, refusal(t, cfg), words...)
}

func requireWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		require.ErrorContains(t, err, w)
	}
}

// refusal is why a start fails.
func refusal(t *testing.T, cfg Config) error {
	t.Helper()
	n, err := startErr(t, cfg)
	if n != nil {
		require.NoError(t, n.Kill())
	}
	require.Error(t, err)
	return err
}

func submitOp(t *testing.T, key string) *logpb.Op {
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none", SharedPayload: make([]byte, 100)})
	require.NoError(t, err)
	return &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}, Key: key, Hash: []byte(key)}}}
}

// submit makes a job that nobody can run.
func submit(t *testing.T, n *Node, key string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := n.Propose(ctx, submitOp(t, key))
	require.NoError(t, err)
	return r.Job
}

func submitMany(t *testing.T, n *Node, keys ...string) {
	t.Helper()
	for _, k := range keys {
		submit(t, n, k)
	}
}

func requireJobs(t *testing.T, n *Node, count uint64) {
	t.Helper()
	for id := uint64(1); id <= count; id++ {
		_, err := n.State().Job(id)
		require.NoError(t, err)
	}
}

// stop ends a server in good order, crash without.
func stop(t *testing.T, n *Node) {
	t.Helper()
	ended(n)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.Shutdown(ctx))
}

func crash(t *testing.T, n *Node) {
	t.Helper()
	ended(n)
	require.NoError(t, n.Kill())
}

// snapshotKeeping takes a snapshot, and keeps a number of entries of the log before it.
func snapshotKeeping(t *testing.T, n *Node, trailing uint64) {
	t.Helper()
	require.NoError(t, n.settings.change(func(rc *raft.ReloadableConfig) { rc.TrailingLogs = trailing }))
	require.NoError(t, n.raft.Snapshot().Error())
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.Create(to)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, errors.Join(err, out.Close()))
}

func in(dir, name string) string { return filepath.Join(dir, name) }

// logConfig opens the log of a server that does not run.
func logConfig(t *testing.T, dir, kind string) raftlog.Config {
	return raftlog.Config{
		Dir: dir, Kind: kind, Made: true, Fatal: func(err error) { t.Error(err) }, Ending: t.Context().Done(),
		Logger: slog.New(slog.DiscardHandler), WALLogger: hclog.NewNullLogger(),
	}
}

// onLog runs f on the log of a server that does not run.
func onLog(t *testing.T, dir string, f func(log raft.LogStore)) {
	t.Helper()
	id, _, err := sealedfile.Read[identity](in(dir, identityFile))
	require.NoError(t, err)
	file, err := raftlog.Open(logConfig(t, dir, id.LogStore))
	require.NoError(t, err)
	f(file)
	require.NoError(t, file.Close())
}
