package raftlog

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
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
	s := &segments{dir: t.TempDir(), log: slog.New(slog.DiscardHandler), ownLog: hclog.NewNullLogger(), size: size}
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
