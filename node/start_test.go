package node

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
)

func TestStartRefusesTheFolderOfAnotherNode(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	stop(t, start(t, cfg))
	cfg.NodeID = "n2"
	refused(t, cfg, "belongs to node n1, not to n2", "--node-id n1")
}

func TestStartRefusesAFolderInUse(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	refused(t, cfg, "in use by another process")
	submit(t, n, "still alive")
}

func TestStartRefusesAFolderWithoutIdentity(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	stop(t, start(t, cfg))
	require.NoError(t, os.Remove(in(cfg.DataDir, identityFile)))
	refused(t, cfg, "no node.json", "join anew")
	require.NoError(t, os.WriteFile(in(cfg.DataDir, identityFile), []byte("{}"), 0o600))
	refused(t, cfg, "node.json is corrupt")
}

func TestStartRefusesTheStateOfAnotherServer(t *testing.T) {
	t.Parallel()
	a, b := config(t, t.TempDir()), config(t, t.TempDir())
	n := start(t, a)
	submit(t, n, "of a")
	stop(t, n)
	stop(t, start(t, b))
	copyFile(t, in(a.DataDir, store.FileName), in(b.DataDir, store.FileName))
	refused(t, b, "it was copied here")
}

func TestLostStateIsRebuiltFromAWholeLog(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	submitMany(t, n, "a", "b", "c")
	stop(t, n)
	index, digest := n.State().Machine().Digest()
	require.NoError(t, os.Remove(in(cfg.DataDir, store.FileName)))
	n = start(t, cfg)
	requireJobs(t, n, 3)
	again, digestAgain := n.State().Machine().Digest()
	require.Equal(t, []uint64{index, digest}, []uint64{again, digestAgain})
}

func TestLostStateIsRefusedBehindATruncatedLog(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	submitMany(t, n, "a", "b", "c", "d", "e")
	snapshotKeeping(t, n, 1)
	stop(t, n)
	require.NoError(t, os.Remove(in(cfg.DataDir, store.FileName)))
	refused(t, cfg, "state.db has index 0", "the log has no entry 1 any more", "join anew")
}

func TestStartRefusesALogThatIsOlderThanTheState(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.LogStore = LogStoreBolt
	n := start(t, cfg)
	submit(t, n, "a")
	stop(t, n)
	old := in(t.TempDir(), "old")
	copyFile(t, in(cfg.DataDir, raftlog.FileName(LogStoreBolt)), old)
	n = start(t, cfg)
	submitMany(t, n, "b", "c", "d")
	stop(t, n)
	copyFile(t, old, in(cfg.DataDir, raftlog.FileName(LogStoreBolt)))
	refused(t, cfg, "log and snapshot end at", "the log was lost or is older")
}

func TestStartRefusesALogThatIsMissing(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.LogStore = LogStoreBolt
	n := start(t, cfg)
	submit(t, n, "a")
	stop(t, n)
	require.NoError(t, os.Remove(in(cfg.DataDir, raftlog.FileName(LogStoreBolt))))
	cfg.LogStore = ""
	refused(t, cfg, "raft.db is missing", "join anew")
	// Also if no other file contradicts it: the server has voted.
	require.NoError(t, os.Remove(in(cfg.DataDir, store.FileName)))
	refused(t, cfg, "raft.db is missing")
	_, err := os.Stat(in(cfg.DataDir, raftlog.FileName(LogStoreBolt)))
	require.ErrorIs(t, err, os.ErrNotExist, "a refusal leaves no new log behind, or the next start would take it")
}

func TestStartRefusesALogOfAnotherTerm(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.LogStore = LogStoreBolt
	n := start(t, cfg)
	submit(t, n, "a")
	stop(t, n)
	applied, term, _ := n.State().Machine().Applied()
	onLog(t, cfg.DataDir, func(log raft.LogStore) {
		var l raft.Log
		require.NoError(t, log.GetLog(applied, &l))
		l.Term = term + 1
		require.NoError(t, log.StoreLog(&l))
	})
	refused(t, cfg, "they do not belong together")
}

func TestStartRefusesALogWithAHole(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.LogStore = LogStoreBolt
	n := start(t, cfg)
	submitMany(t, n, "a", "b", "c")
	stop(t, n)
	last, err := n.State().Machine().AppliedIndex(), error(nil)
	onLog(t, cfg.DataDir, func(log raft.LogStore) { err = log.DeleteRange(last-1, last-1) })
	require.NoError(t, err)
	refused(t, cfg, "the log is not whole")
}

// An old state.db is one that was restored from a copy.
func TestOldStateIsBroughtUpToTheSnapshot(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		trailing uint64
		healed   bool
	}{
		{"from the log", 1000, true},
		{"unless the log is truncated", 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, t.TempDir())
			n := start(t, cfg)
			submit(t, n, "a")
			stop(t, n)
			old := in(t.TempDir(), "old")
			copyFile(t, in(cfg.DataDir, store.FileName), old)
			n = start(t, cfg)
			submitMany(t, n, "b", "c", "d")
			snapshotKeeping(t, n, tc.trailing)
			stop(t, n)
			copyFile(t, old, in(cfg.DataDir, store.FileName))
			if !tc.healed {
				refused(t, cfg, "state.db is older than it may be")
				return
			}
			n = start(t, cfg)
			requireJobs(t, n, 4)
			require.Empty(t, n.State().Machine().CheckInvariants())
		})
	}
}

func TestCorruptStateIsRefused(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(b []byte) []byte{
		"empty":       func([]byte) []byte { return nil },
		"no database": func([]byte) []byte { return bytes.Repeat([]byte("rota"), 4096) },
		"cut short":   func(b []byte) []byte { return b[:4096*3] },
		// The first two pages are two copies of the same thing: one is enough.
		"overwritten": func(b []byte) []byte { return append(b[:2*4096:2*4096], bytes.Repeat([]byte{0xff}, len(b)-2*4096)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, t.TempDir())
			n := start(t, cfg)
			submitMany(t, n, "a", "b")
			stop(t, n)
			path := in(cfg.DataDir, store.FileName)
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			damaged := damage(whole)
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			err = refusal(t, cfg)
			requireWords(t, err, "Nothing was changed", path)
			require.ErrorIs(t, err, store.ErrCorrupt)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(damaged, after), "the evidence is kept")
			// The advice in the message works.
			require.NoError(t, os.Remove(path))
			requireJobs(t, start(t, cfg), 2)
		})
	}
}

// streamOf is the state of a server as it would send it to another one.
func streamOf(t *testing.T, n *Node) (*raft.SnapshotMeta, []byte) {
	t.Helper()
	snapshotKeeping(t, n, 1)
	list, err := n.snapshots.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	meta, r, err := n.snapshots.Open(list[0].ID)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return meta, content
}

// receive receives a snapshot as raft does on a follower: it is listed, and not restored yet.
func receive(t *testing.T, n *Node, meta *raft.SnapshotMeta, content []byte) {
	t.Helper()
	sink, err := n.snapshots.Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, n.transport)
	require.NoError(t, err)
	_, err = sink.Write(content)
	require.NoError(t, err)
	require.NoError(t, sink.Close())
}

func TestACrashBeforeTheRestoreOfAReceivedSnapshotIsHealed(t *testing.T) {
	t.Parallel()
	from := start(t, config(t, t.TempDir()))
	submitMany(t, from, "a", "b", "c")
	meta, content := streamOf(t, from)

	cfg := config(t, t.TempDir())
	cfg.NodeID, cfg.BootstrapExpect = "n2", 0
	n, err := startErr(t, cfg)
	require.NoError(t, err)
	receive(t, n, meta, content)
	require.Zero(t, n.State().Machine().AppliedIndex())
	require.NoError(t, n.Kill())

	n, err = startErr(t, cfg)
	require.NoError(t, err)
	requireJobs(t, n, 3)
	require.Equal(t, meta.Index, n.raft.AppliedIndex())
	at, ok := n.snapshots.Newest()
	require.True(t, ok)
	require.Equal(t, meta.Index, at.Index)
	require.GreaterOrEqual(t, n.State().Machine().AppliedIndex(), at.StateIndex)
	require.NoError(t, n.Kill())
}

// Before the first snapshot, and if only reads write the log, it never has enough bytes for a snapshot.
func TestTheLogIsBoundedInEntries(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.SnapshotEntries = 20
	n := start(t, cfg)
	submit(t, n, "a")
	for range 3 {
		before, _ := n.snapshots.Newest()
		for range cfg.SnapshotEntries {
			require.NoError(t, n.Barrier(t.Context()))
		}
		require.Eventually(t, func() bool { at, _ := n.snapshots.Newest(); return at.Index > before.Index }, patience, time.Millisecond)
	}
	first, err := n.log.FirstIndex()
	require.NoError(t, err)
	require.Greater(t, first, uint64(1))
	crash(t, n)
	requireJobs(t, start(t, cfg), 1)
}
