package node

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/node/raftlog"
)

// Each file takes a descriptor, however short it is.
func TestTheLogIsBoundedInFiles(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	submit(t, n, "a")
	crash(t, n)
	last := shortFilesOf(t, cfg.DataDir, 40)
	n = start(t, cfg)
	require.GreaterOrEqual(t, n.raft.LastIndex(), last)
	require.Eventually(t, func() bool { return len(n.log.Begins()) <= filesOf(n.cfg.TrailingBytes)+shortFiles }, patience, 10*time.Millisecond)
	require.Greater(t, len(n.log.Begins()), shortFiles/2, "servers that were away for a moment need the newest entries")
	requireJobs(t, n, 1)
	crash(t, n)
	requireJobs(t, start(t, cfg), 1)
}

// shortFilesOf lets the log of a server begin so many files, and returns its last index.
func shortFilesOf(t *testing.T, dir string, files int) uint64 {
	t.Helper()
	log, err := raftlog.Open(logConfig(t, dir, LogStoreWAL))
	require.NoError(t, err)
	last, err := log.LastIndex()
	require.NoError(t, err)
	var at raft.Log
	require.NoError(t, log.GetLog(last, &at))
	for range files {
		require.NoError(t, log.StoreLogs([]*raft.Log{
			{Index: last + 1, Term: at.Term, Type: raft.LogNoop}, {Index: last + 2, Term: at.Term, Type: raft.LogNoop},
		}))
		last++
		require.NoError(t, log.DeleteRange(last+1, last+1))
	}
	require.NoError(t, log.Close())
	return last
}
