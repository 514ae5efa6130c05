package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// An entry that this build cannot apply must stop the server: nothing behind it is applied, no read that needs it is
// confirmed, and the server can still be ended.
func TestNothingIsAppliedBehindAnEntryThatFails(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	fatal := make(chan error, 1)
	cfg.Fatal = func(err error) { fatal <- err }
	n := start(t, cfg)
	submit(t, n, "a")
	index := n.State().Machine().AppliedIndex()
	require.NoError(t, n.raft.Apply([]byte("poison"), time.Second).Error())
	require.ErrorContains(t, <-fatal, "this server must stop")

	_, err := n.Propose(t.Context(), submitOp(t, "b"))
	require.ErrorIs(t, err, task.ErrUnknownOutcome)
	require.ErrorIs(t, n.Barrier(t.Context()), task.ErrUnavailable)
	require.Error(t, n.raft.Snapshot().Error(), "it would let raft drop what was not applied")
	require.Equal(t, index, n.State().Machine().AppliedIndex())
	crash(t, n)

	n, err = startErr(t, cfg)
	require.NoError(t, err)
	require.ErrorContains(t, <-fatal, "this server must stop", "the entry is still there")
	require.NoError(t, n.Kill())
}

// Raft may send a follower a snapshot that is older than what it has.
func TestAnOlderSnapshotDoesNotTakeTheStateBack(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	submitMany(t, n, "a", "b")
	meta, content := streamOf(t, n)
	submitMany(t, n, "c", "d")
	index, digest := n.State().Machine().Digest()
	receive(t, n, meta, content)
	require.NoError(t, n.applier.Restore(nil))
	requireJobs(t, n, 4)
	again, digestAgain := n.State().Machine().Digest()
	require.Equal(t, []uint64{index, digest}, []uint64{again, digestAgain})
	require.NoError(t, n.State().Flush())
	_, r, err := n.snapshots.Open(fmt.Sprintf("%d-%d", meta.Term, meta.Index))
	require.NoError(t, err)
	newest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.False(t, bytes.Equal(content, newest), "what was received is forgotten, the live state is sent")
}

// A received state is the server's state even if the received file could not be removed. Raft tries again.
func TestAStateThatWasTakenOverIsTheStateWhateverFailsBehind(t *testing.T) {
	t.Parallel()
	from := start(t, config(t, t.TempDir()))
	submitMany(t, from, "a", "b", "c")
	meta, content := streamOf(t, from)
	cfg := config(t, t.TempDir())
	cfg.NodeID, cfg.BootstrapExpect = "n2", 0
	n, err := startErr(t, cfg)
	require.NoError(t, err)
	receive(t, n, meta, content)
	inTheWay := in(cfg.DataDir, "snapshots/snapshot.json.new")
	require.NoError(t, os.MkdirAll(in(inTheWay, "not empty"), 0o700)) // a write that fails removes its file
	require.Error(t, n.applier.Restore(nil))
	requireJobs(t, n, 3)
	index, term, _ := n.State().Machine().Applied()
	require.Equal(t, fsm.Place{Index: index, Term: term}, n.applier.place())
	require.NoError(t, n.WaitApplied(t.Context(), index))
	require.NoError(t, os.RemoveAll(inTheWay))
	require.NoError(t, n.applier.Restore(nil))
	require.Equal(t, fsm.Place{Index: index, Term: term}, n.applier.place())
	require.NoError(t, n.Kill())
}

// A reader may ask for an index that never comes.
func TestWhoWaitsNoMoreIsForgotten(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		require.ErrorIs(t, n.WaitApplied(ctx, 1<<60), context.Canceled)
	}
	require.Empty(t, n.applier.waiters)
	waited := make(chan error, 1)
	index := n.State().Machine().AppliedIndex()
	go func() { waited <- n.WaitApplied(context.Background(), index+1) }()
	submit(t, n, "a")
	require.NoError(t, <-waited)
	require.Empty(t, n.applier.waiters)
	go func() { waited <- n.WaitApplied(context.Background(), 1<<60) }()
	crash(t, n)
	require.ErrorIs(t, <-waited, task.ErrUnavailable)
}

// Whatever is under way when a server ends gets an answer, and the server ends.
func TestEverybodyIsAnsweredWhenAServerEnds(t *testing.T) {
	t.Parallel()
	for i := range 10 {
		cfg := config(t, t.TempDir())
		n := start(t, cfg)
		var wg sync.WaitGroup
		for k := range 40 {
			wg.Go(func() {
				for j := 0; ; j++ {
					if _, err := n.Propose(context.Background(), submitOp(t, fmt.Sprintf("%d/%d", k, j))); err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				for n.Barrier(context.Background()) == nil {
					continue
				}
			})
		}
		require.Eventually(t, func() bool { return n.raft.AppliedIndex() > 20 }, patience, time.Millisecond)
		if i%2 == 0 {
			crash(t, n)
		} else {
			stop(t, n)
		}
		wg.Wait()
	}
}

// When raft ends, it never answers for entries that are committed and not yet applied.
func TestAServerEndsWhoseStateMachineIsBehind(t *testing.T) {
	t.Parallel()
	for range 5 {
		n := start(t, config(t, t.TempDir()))
		b := &blocking{gate: make(chan struct{})}
		require.True(t, n.Fleet().Attach(openSession(t, n, "w"), b))
		answers := make(chan error, 5)
		answer := func(_ fsm.Result, err error) { answers <- err }
		n.ProposeAsync(submitOp(t, "blocks"), answer)
		for range cap(answers) - 2 {
			// Each is an entry of its own, and the first one blocks all others.
			last := n.raft.LastIndex()
			n.ProposeAsync(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: 1}}}, answer)
			require.Eventually(t, func() bool { return n.raft.LastIndex() > last }, patience, time.Millisecond)
		}
		go func() { answers <- n.Barrier(context.Background()) }()
		ended(n)
		killed := make(chan error, 1)
		go func() { killed <- n.Kill() }()
		require.Eventually(t, func() bool { return n.ctx.Err() != nil || n.raft.State() == raft.Shutdown }, patience, time.Millisecond)
		close(b.gate)
		select {
		case err := <-killed:
			require.NoError(t, err)
		case <-time.After(patience):
			require.Fail(t, "the server does not end")
		}
		for range cap(answers) {
			err := <-answers // whatever it is
			t.Log(err)
		}
	}
}

// A leader that cannot become ready, and that nobody replaces, tries again.
func TestALeaderThatCouldNotBecomeReadyTriesAgain(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.ElectionTimeout = 500 * time.Millisecond
	stop(t, start(t, cfg)) // from here on there is nothing to apply that it would miss
	n, err := startErr(t, cfg)
	require.NoError(t, err)
	// Before the first election can be over.
	n.applier.failed.Store(true)
	require.Eventually(t, func() bool { return n.raft.State() == raft.Leader }, patience, time.Millisecond)
	term := n.Term()
	require.Never(t, func() bool { _, ok := n.Ready(); return ok }, 3*establishPause, establishPause/10)
	n.applier.failed.Store(false)
	require.Eventually(t, func() bool { _, ok := n.Ready(); return ok }, patience, time.Millisecond)
	require.Equal(t, term, n.Term())
	require.NoError(t, n.Kill())
}
