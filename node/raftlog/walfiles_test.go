package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// sizes are those of the files of a log, oldest first.
func sizes(t *testing.T, dir string) []int64 {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	require.NoError(t, err)
	var out []int64
	for _, path := range paths {
		info, err := os.Stat(path)
		require.NoError(t, err)
		out = append(out, info.Size())
	}
	return out
}

// A leader that is deposed deletes the end of its log, which begins another file each time.
func TestAFileOfTheLogTakesNoMoreThanItHoldsOnceItIsClosed(t *testing.T) {
	t.Parallel()
	const size, lost = 1 << 20, 10
	s := &segments{dir: t.TempDir(), log: slog.New(slog.DiscardHandler), size: size}
	require.NoError(t, s.open())
	last := uint64(0)
	for i := range lost {
		if i == lost/2 {
			require.NoError(t, s.Close())
			require.NoError(t, s.open())
		}
		n, err := fill(t, s, last+1, 3)
		require.NoError(t, err)
		last += n
		require.NoError(t, s.DeleteRange(last, last))
		last--
	}
	files := sizes(t, s.dir)
	require.Len(t, files, lost+1)
	require.GreaterOrEqual(t, files[lost], int64(size), "appending to the newest one needs no space")
	for _, file := range files[:lost] {
		require.Less(t, file, int64(4*8<<10), "three entries of 8 KiB and their index")
	}
	begins := s.begins()
	require.Len(t, begins, lost+1)
	require.EqualValues(t, 1, begins[0])
	require.Equal(t, last+1, begins[lost])
	requireEntries(t, s, last)

	require.NoError(t, s.Close())
	require.NoError(t, s.open())
	defer func() { require.NoError(t, s.Close()) }()
	require.Equal(t, begins, s.begins())
	requireEntries(t, s, last)
	n, err := fill(t, s, last+1, 300)
	require.NoError(t, err)
	requireEntries(t, s, last+n)
	require.NoError(t, s.DeleteRange(1, last), "what is kept begins in a file that was not cut")
	require.Less(t, len(s.begins()), 5)
}

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
	require.Eventually(t, func() bool { return len(n.logBegins()) <= filesOf(n.cfg.TrailingBytes)+shortFiles }, patience, 10*time.Millisecond)
	require.Greater(t, len(n.logBegins()), shortFiles/2, "servers that were away for a moment need the newest entries")
	requireJobs(t, n, 1)
	crash(t, n)
	requireJobs(t, start(t, cfg), 1)
}

// shortFilesOf lets the log of a server begin so many files, and returns its last index.
func shortFilesOf(t *testing.T, dir string, files int) uint64 {
	t.Helper()
	opened, err := openWAL(filepath.Join(dir, logNames[LogStoreWAL]), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	log := &checkedLog{LogStore: opened, fatal: func(err error) { t.Error(err) }}
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
	require.NoError(t, opened.Close())
	return last
}
