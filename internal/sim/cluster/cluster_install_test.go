package cluster

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// slowInstalls is a transport that takes long for a state.
type slowInstalls struct {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
	takes time.Duration
	begun *atomic.Int64
}

func (s *slowInstalls) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	s.begun.Add(1)
	time.Sleep(s.takes)
	return s.Transport.InstallSnapshot(id, to, r, out, data)
}

// other is a server that is not s.
func (c *Cluster) other(s *Server) *Server {
	if c.Servers[0] != s {
		return c.Servers[0]
	}
	return c.Servers[1]
}

// submitBytes submits a job of one task with a payload of so many bytes, and returns its index
// in the log.
func submitBytes(ctx context.Context, t *testing.T, leader *Server, size int) uint64 {
	t.Helper()
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
	require.NoError(t, err)
	tasks := &logpb.Tasks{Count: 1, Packed: task.PackAppend(nil, make([]byte, size))}
	res, err := leader.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: tasks}}})
	require.NoError(t, err)
	return res.Index
}

// While a server takes the state over, the others go on. Once they have much more log, they would drop what that
// server needs next: it would have to take the next state over, and so on for ever.
func TestAServerCatchesUpHoweverLongTheStateTakes(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var installs atomic.Int64
		c := New(Config{Servers: 3, Dir: dir, Seed: 1, Edit: func(cfg *node.Config) {
			cfg.SnapshotBytes, cfg.TrailingBytes = 8<<10, 1<<10
			inner := cfg.RaftTransport
			cfg.RaftTransport = &slowInstalls{inner, inner, inner, 5 * time.Second, &installs}
		}})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		late := c.other(leader)
		submit := func() uint64 {
			time.Sleep(5 * time.Millisecond)
			return submitBytes(ctx, t, leader, 256)
		}
		require.NoError(t, late.Crash())
		for range 400 {
			submit()
		}
		require.NoError(t, late.Start())
		for late.Node().Self().AppliedIndex+100 < submit() {
			require.LessOrEqual(t, installs.Load(), int64(3), "states that were sent to one server")
		}
		require.Positive(t, installs.Load(), "it had to take the state over")
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}

// slowLink is a transport that takes time for what it carries, and gives up after a second.
type slowLink struct {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
	bytesPerSecond int
}

func (s *slowLink) AppendEntries(id raft.ServerID, to raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	size := 0
	for _, e := range r.Entries {
		size += len(e.Data)
	}
	takes := time.Second * time.Duration(size) / time.Duration(s.bytesPerSecond)
	if takes > raftTimeout {
		time.Sleep(raftTimeout)
		return context.DeadlineExceeded
	}
	time.Sleep(takes)
	return s.Transport.AppendEntries(id, to, r, out)
}

// A message with entries may take a second. If a link is so slow that what raft puts into one message takes longer,
// messages must have less.
func TestAServerCatchesUpOverASlowLink(t *testing.T) {
	t.Parallel()
	dir := memoryDir(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c := New(Config{Servers: 3, Dir: dir, Seed: 1, Edit: func(cfg *node.Config) {
			inner := cfg.RaftTransport
			cfg.RaftTransport = &slowLink{inner, inner, inner, 64 << 10}
		}})
		require.NoError(t, c.StartAll())
		leader, err := c.WaitLeader(ctx)
		require.NoError(t, err)
		late := c.other(leader)
		require.NoError(t, late.Crash())
		index := uint64(0)
		for range 60 {
			index = submitBytes(ctx, t, leader, 4<<10)
		}
		require.NoError(t, late.Start())
		within, over := context.WithTimeout(ctx, time.Minute)
		defer over()
		require.NoError(t, late.Node().WaitApplied(within, index), "240 KiB at 64 KiB a second")
		require.NoError(t, c.Close())
		require.NoError(t, c.Fatal())
	})
}
