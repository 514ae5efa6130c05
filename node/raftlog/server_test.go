package raftlog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/task"
)

// patience is how long a condition may take to come true.
const patience = 60 * time.Second

// onEachLog runs f with each kind of log.
func onEachLog(t *testing.T, f func(t *testing.T, cfg node.Config)) {
	t.Parallel()
	for _, kind := range raftlog.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, node.Config{
				// Nobody else looks for it, so it can listen elsewhere.
				NodeID: "n1", DataDir: t.TempDir(), Addr: "127.0.0.1:1", PeerAddr: "127.0.0.1:2", BootstrapExpect: 1,
				LogStore: kind, ElectionTimeout: 50 * time.Millisecond,
				Logger: slog.New(slog.DiscardHandler),
				Fatal:  func(err error) { t.Errorf("the server must stop: %v", err) },
			})
		})
	}
}

// start starts a server.
func start(t *testing.T, cfg node.Config) (*node.Node, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.RaftListener = l
	n, err := node.Start(cfg)
	if err != nil {
		_ = l.Close()
	}
	return n, err
}

// started starts a server and waits until it is ready to lead.
func started(t *testing.T, cfg node.Config) *node.Node {
	t.Helper()
	n, err := start(t, cfg)
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, ok := n.Ready(); return ok }, patience, time.Millisecond)
	return n
}

func stop(t *testing.T, n *node.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, n.Shutdown(ctx))
}

// submit makes a job that nobody can run.
func submit(t *testing.T, n *node.Node) {
	t.Helper()
	spec, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = n.Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: 1}, Key: "a", Hash: []byte("a")}}})
	require.NoError(t, err)
}

func requireJob(t *testing.T, n *node.Node) {
	t.Helper()
	_, err := n.State().Job(1)
	require.NoError(t, err)
}

// stable gives f the stable store of a server that has ended, as it is on disk.
func stable(t *testing.T, cfg node.Config, f func(s raftlog.File)) {
	t.Helper()
	s, err := raftlog.OpenFile(raftlog.Config{Dir: cfg.DataDir, Kind: cfg.LogStore, Made: true, Logger: cfg.Logger, WALLogger: hclog.NewNullLogger()})
	require.NoError(t, err)
	f(s)
	require.NoError(t, s.Close())
}

func TestADamagedTermOrVoteIsRefused(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg node.Config) {
		n := started(t, cfg)
		submit(t, n)
		stop(t, n)
		for _, key := range []string{raftlog.CurrentTerm, "LastVoteTerm"} {
			var whole []byte
			stable(t, cfg, func(s raftlog.File) {
				raw, err := s.Get([]byte(key))
				require.NoError(t, err)
				whole = bytes.Clone(raw)
			})
			for at := range whole {
				wrong := bytes.Clone(whole)
				wrong[at] ^= 1
				stable(t, cfg, func(s raftlog.File) {
					require.NoError(t, s.Set([]byte(key), wrong))
					_, err := raftlog.Checked(s).GetUint64([]byte(key))
					require.ErrorContains(t, err, raftlog.CorruptAdvice, fmt.Sprint(key, at))
				})
			}
			if key == raftlog.CurrentTerm {
				_, err := start(t, cfg)
				require.ErrorContains(t, err, "join anew")
			}
			stable(t, cfg, func(s raftlog.File) { require.NoError(t, s.Set([]byte(key), whole)) })
		}
		n = started(t, cfg)
		requireJob(t, n)
		stop(t, n)
	})
}

// A folder of a build that stored no checksums still works, and gets checksums.
func TestATermAndVoteWithoutChecksumsAreTaken(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg node.Config) {
		n := started(t, cfg)
		submit(t, n)
		stop(t, n)
		stable(t, cfg, func(s raftlog.File) {
			for _, key := range []string{raftlog.CurrentTerm, "LastVoteTerm"} {
				value, err := raftlog.Checked(s).GetUint64([]byte(key))
				require.NoError(t, err)
				require.NotZero(t, value)
				require.NoError(t, s.SetUint64([]byte(key), value))
			}
			candidate, err := raftlog.Checked(s).Get([]byte("LastVoteCand"))
			require.NoError(t, err)
			require.NotEmpty(t, candidate)
			require.NoError(t, s.Set([]byte("LastVoteCand"), candidate))
		})
		n = started(t, cfg)
		requireJob(t, n)
		stop(t, n)
		stable(t, cfg, func(s raftlog.File) {
			raw, err := s.Get([]byte(raftlog.CurrentTerm))
			require.NoError(t, err)
			require.Len(t, raw, raftlog.SealBytes+8)
		})
	})
}
