package node

import (
	"log/slog"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
)

// blocking is a worker's stream that blocks the state machine, as a disk does where the
// state machine has to read what it does not have in memory.
type blocking struct{ gate chan struct{} }

func (b *blocking) Grant(fsm.Grant)            { <-b.gate }
func (b *blocking) Stop(uint64, uint32, int64) {}
func (b *blocking) End(bool)                   {}

func openSession(t *testing.T, n *Node, worker string) uint64 {
	t.Helper()
	res, err := n.Propose(t.Context(), &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
		Session: &logpb.Session{Worker: worker, Nonce: []byte("1"), Slots: 1, Handlers: []string{"none"}},
	}}})
	require.NoError(t, err)
	return res.Session
}

// Nobody can take over here, so the server ends.
func TestALeaderWhoseStateMachineStallsEnds(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.StallTimeout = 100 * time.Millisecond
	fatal := make(chan error, 1)
	cfg.Fatal = func(err error) { fatal <- err }
	n := start(t, cfg)
	b := &blocking{gate: make(chan struct{})}
	require.True(t, n.Fleet().Attach(openSession(t, n, "w"), b))
	n.ProposeAsync(submitOp(t, "a"), func(fsm.Result, error) {})
	select {
	case err := <-fatal:
		require.ErrorContains(t, err, "the disk has stalled")
	case <-time.After(patience):
		require.Fail(t, "nobody noticed")
	}
	close(b.gate)
	crash(t, n)
}

// A follower's state machine is watched as well: nobody else would notice.
func TestAFollowerWhoseStateMachineStallsSaysSoAndEnds(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.StallTimeout = 20 * time.Millisecond
	cfg.BootstrapExpect = 0 // it never leads
	fatal := make(chan error, 1)
	cfg.Fatal = func(err error) { fatal <- err }
	n, err := startErr(t, cfg)
	require.NoError(t, err)
	n.applier.step.Start()
	select {
	case err := <-fatal:
		require.ErrorContains(t, err, "the state machine of this follower has stood still")
	case <-time.After(patience):
		require.Fail(t, "nobody noticed")
	}
	n.applier.step.Stop()
	require.NoError(t, n.Kill())
}

// After a pause, of the machine or by a signal, the entry under way seems to have taken all that time. The process
// must not end because of that before it has run again.
func TestAFollowerThatWasPausedGoesOn(t *testing.T) {
	t.Parallel()
	a := &applier{}
	ended := false
	w := &watchdog{
		applying: a.applying, stateFull: func() bool { return false }, stallTimeout: time.Second,
		logger: slog.New(slog.DiscardHandler), fatal: func(error) { ended = true },
	}

	a.step.StartedAt(time.Now().Add(-time.Hour))
	require.True(t, w.follower(false), "it is told")
	require.False(t, ended)
	a.step.Stop()
	require.False(t, w.follower(true), "it has gone on")
	a.step.StartedAt(time.Now().Add(-time.Hour))
	require.True(t, w.follower(true))
	require.True(t, ended, "it was told, and stands still all the same")
}

// slow is an observer that takes a second, like an entry on a busy machine.
type slow struct{ after func() }

func (slow) Granted(fsm.Grant)                      {}
func (slow) Stopping(uint64, uint64, uint32, int64) {}
func (slow) SessionClosed(uint64)                   {}
func (s slow) Wake()                                { time.Sleep(time.Second); s.after() }

// A leader with a batch of many entries to apply on a busy machine once gave up its place, and then ended, as if its
// disk had stalled.
func TestABatchThatGetsOnIsNoStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		state, err := store.OpenState(t.TempDir(), store.Identity{NodeID: "n1", ServerID: "s1"}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		a := newApplier(applierConfig{
			state: state, flusher: store.NewFlusher(state), clock: &stateClock{}, ending: t.Context(), snapshotBytes: 1 << 20,
			placesChanged: func() {},
		})
		applied := 0
		state.Machine().SetObserver(slow{after: func() { applied++; require.Equal(t, time.Second, a.applying()) }})
		var logs []*raft.Log
		for i := range 20 {
			data, err := fsm.EncodeEntry(fsm.GateVersion, 1, []*logpb.Op{submitOp(t, strconv.Itoa(i))})
			require.NoError(t, err)
			logs = append(logs, &raft.Log{Index: uint64(i) + 1, Term: 1, Type: raft.LogCommand, Data: data})
		}
		a.ApplyBatch(logs)
		require.Equal(t, len(logs), applied)
		require.Zero(t, a.applying())
		require.NoError(t, state.Abandon())
	})
}
