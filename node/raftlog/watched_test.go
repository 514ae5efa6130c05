package raftlog

import (
	"errors"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// failingLog fails from a certain call on.
type failingLog struct {
	*raft.InmemStore
	store, remove error
	// after so many deletions they fail.
	after int
}

func (f *failingLog) StoreLogs(logs []*raft.Log) error {
	if f.store != nil {
		return f.store
	}
	return f.InmemStore.StoreLogs(logs)
}

func (f *failingLog) DeleteRange(first, last uint64) error {
	if f.after--; f.after < 0 && f.remove != nil {
		return f.remove
	}
	return f.InmemStore.DeleteRange(first, last)
}

func watched(t *testing.T, entries int) (w *watchedLog, f *failingLog, fatal *error) {
	f, fatal = &failingLog{InmemStore: raft.NewInmemStore()}, new(error)
	w = &watchedLog{LogStore: f, fatal: func(err error) { *fatal = err }, chunk: deleteChunk}
	require.NoError(t, w.StoreLogs(logs(1, uint64(entries))))
	return w, f, fatal
}

func logs(first, last uint64) (out []*raft.Log) {
	for i := first; i <= last; i++ {
		out = append(out, &raft.Log{Index: i, Term: 1})
	}
	return out
}

// requireWhole requires that the log has no hole: raft does not start on one.
func requireWhole(t *testing.T, w *watchedLog) (first, last uint64) {
	t.Helper()
	first, err := w.FirstIndex()
	require.NoError(t, err)
	last, err = w.LastIndex()
	require.NoError(t, err)
	for i := first; i > 0 && i <= last; i++ {
		require.NoError(t, w.GetLog(i, &raft.Log{}), "entry %d of %d to %d", i, first, last)
	}
	return first, last
}

func TestAnInterruptedDeletionLeavesNoHole(t *testing.T) {
	t.Parallel()
	const entries = 5 * deleteChunk
	for _, tc := range []struct {
		name        string
		first, last uint64
		fatal       bool
	}{
		{"of the beginning", 1, entries - 100, false},
		// Raft believes that nothing of it is deleted, or all.
		{"of the end", 100, entries, true},
		{"of everything", 1, entries, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for after := range 4 {
				w, f, fatal := watched(t, entries)
				f.remove, f.after = errors.New("power lost"), after
				require.Error(t, w.DeleteRange(tc.first, tc.last))
				first, last := requireWhole(t, w)
				left := int(last - first + 1)
				require.GreaterOrEqual(t, left, entries-after*deleteChunk, "deleted in chunks")
				require.Equal(t, after > 0, left < entries)
				require.Equal(t, tc.fatal && after > 0, *fatal != nil)
			}
			w, _, fatal := watched(t, entries)
			require.NoError(t, w.DeleteRange(tc.first, tc.last))
			requireWhole(t, w)
			require.NoError(t, *fatal)
			require.ErrorIs(t, w.GetLog(tc.first, &raft.Log{}), raft.ErrLogNotFound)
			require.ErrorIs(t, w.GetLog(tc.last, &raft.Log{}), raft.ErrLogNotFound)
		})
	}
}

func TestDeletingFromAnEmptyLogEnds(t *testing.T) {
	t.Parallel()
	w := &watchedLog{LogStore: raft.NewInmemStore(), fatal: func(err error) { t.Error(err) }, chunk: deleteChunk}
	require.NoError(t, w.DeleteRange(0, 1000))
	require.NoError(t, w.DeleteRange(0, 0))
	require.NoError(t, w.DeleteRange(5, 4))
}

func TestAFailedWriteOfTheLogIsFatal(t *testing.T) {
	t.Parallel()
	w, f, fatal := watched(t, 3)
	f.store = syscall.EIO
	require.ErrorIs(t, w.StoreLogs(logs(4, 4)), syscall.EIO)
	require.ErrorIs(t, *fatal, syscall.EIO)
	require.False(t, w.full.Load())
}

func TestAFullDiskIsNotFatal(t *testing.T) {
	t.Parallel()
	w, f, fatal := watched(t, 3)
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		f.store = full
		require.ErrorIs(t, w.StoreLogs(logs(4, 4)), full)
		require.NoError(t, *fatal)
		require.True(t, w.full.Load())
		f.store = nil
		require.NoError(t, w.StoreLogs(logs(4, 4)))
		require.False(t, w.full.Load())
	}
}

// Raft deletes what contradicts a new leader, and then writes what that leader sends. If the write fails, raft
// continues as if nothing had been deleted.
func TestAFullDiskBehindADeletedEndIsFatal(t *testing.T) {
	t.Parallel()
	w, f, fatal := watched(t, 10)
	require.NoError(t, w.DeleteRange(8, 10))
	f.store = syscall.ENOSPC
	require.ErrorIs(t, w.StoreLogs(logs(8, 8)), syscall.ENOSPC)
	require.ErrorIs(t, *fatal, syscall.ENOSPC)
	require.ErrorContains(t, *fatal, "free some space")

	w, f, fatal = watched(t, 10)
	require.NoError(t, w.DeleteRange(8, 10))
	require.NoError(t, w.StoreLogs(logs(8, 8)))
	f.store = syscall.ENOSPC
	require.Error(t, w.StoreLogs(logs(9, 9)))
	require.NoError(t, *fatal, "what was deleted has been replaced")
}
