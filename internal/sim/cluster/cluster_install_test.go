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

// While a server takes the state over the others go on, and drop the log that it will need
// next once they have much more of it: it would take the next state over, and so on for ever.
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
		late := c.Servers[0]
		if late == leader {
			late = c.Servers[1]
		}
		raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
		require.NoError(t, err)
		submit := func() uint64 {
			time.Sleep(5 * time.Millisecond)
			tasks := &logpb.Tasks{Count: 1, Packed: task.PackAppend(nil, make([]byte, 256))}
			res, err := leader.Node().Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: tasks}}})
			require.NoError(t, err)
			return res.Index
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
