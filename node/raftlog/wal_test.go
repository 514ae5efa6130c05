package raftlog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/smalldisk"
)

// smallSegments is a log whose files hold a few entries only.
func smallSegments(t *testing.T, dir string) *segments {
	t.Helper()
	s := &segments{dir: dir, log: slog.New(slog.DiscardHandler), ownLog: hclog.NewNullLogger(), size: 64 << 10}
	require.NoError(t, s.open())
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// smallDisk is such a log on a disk that has room for a few of its files.
func smallDisk(t *testing.T) *segments {
	t.Helper()
	dir := t.TempDir()
	smalldisk.Mount(t, dir, "size=512k")
	return smallSegments(t, dir)
}

// fillDisk leaves no space for another file of the log, until the test calls free.
func fillDisk(t *testing.T, s *segments) (free func()) {
	t.Helper()
	ballast := filepath.Join(s.dir, "ballast")
	err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600)
	require.True(t, store.IsDiskFull(err), err)
	return func() { require.NoError(t, os.Remove(ballast)) }
}

// fill appends entries until one is not taken, and returns how many were.
func fill(t *testing.T, s *segments, from, most uint64) (uint64, error) {
	t.Helper()
	for i := from; i < from+most; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 8<<10)}); err != nil {
			return i - from, err
		}
	}
	return most, nil
}

func requireEntries(t *testing.T, s *segments, last uint64) {
	t.Helper()
	got, err := s.LastIndex()
	require.NoError(t, err)
	require.Equal(t, last, got)
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		require.NoError(t, s.GetLog(i, &l))
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, 8<<10), l.Data)
	}
}

// A log that found no space for its next file says so, loses nothing, and goes on once
// there is space, without a restart.
func TestALogWithoutSpaceForItsNextFileGoesOnOnceThereIsSome(t *testing.T) {
	t.Parallel()
	if smalldisk.Elsewhere(t) {
		return
	}
	s := smallDisk(t)
	taken, err := fill(t, s, 1, 4)
	require.NoError(t, err)
	free := fillDisk(t, s)
	more, err := fill(t, s, taken+1, 100)
	require.True(t, store.IsDiskFull(err), err)
	requireEntries(t, s, taken+more)
	_, err = fill(t, s, taken+more+1, 1)
	require.True(t, store.IsDiskFull(err), err)

	free()
	last := taken + more
	n, err := fill(t, s, last+1, 8)
	require.NoError(t, err)
	requireEntries(t, s, last+n)
	require.NoError(t, s.SetUint64([]byte("term"), 7))
	left, err := filepath.Glob(filepath.Join(s.dir, "room-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// The end of a log is deleted only when there is space for the file that follows.
func TestTheEndOfALogIsDeletedOnceThereIsSpaceForItsNextFile(t *testing.T) {
	t.Parallel()
	if smalldisk.Elsewhere(t) {
		return
	}
	s := smallDisk(t)
	last, err := fill(t, s, 1, 4)
	require.NoError(t, err)
	free := fillDisk(t, s)
	for range 2 {
		err = s.DeleteRange(last, last)
		require.True(t, store.IsDiskFull(err), err)
		requireEntries(t, s, last)
	}
	// Raft believes that what was not deleted is still there.
	n, err := fill(t, s, last+1, 1)
	require.NoError(t, err)
	last += n
	require.NoError(t, s.Close())
	require.NoError(t, s.open())
	requireEntries(t, s, last)

	free()
	require.NoError(t, s.DeleteRange(last, last))
	last--
	requireEntries(t, s, last)
	n, err = fill(t, s, last+1, 8)
	require.NoError(t, err)
	requireEntries(t, s, last+n)
}

// Damage that hides entries must not pass for the end of the log.
func TestDamagedKnowledgeOfTheFilesOfTheLogIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &segments{dir: dir, log: slog.New(slog.DiscardHandler), ownLog: hclog.NewNullLogger(), size: 64 << 10}
	require.NoError(t, s.open())
	_, err := fill(t, s, 1, 20)
	require.NoError(t, err)
	require.NoError(t, s.DeleteRange(1, 3))
	require.NoError(t, s.Close())
	require.NoError(t, s.open())
	require.NoError(t, s.Close())
	for name, damage := range map[string]func(state *types.PersistentState){
		"the log begins later":     func(state *types.PersistentState) { state.Segments[0].MinIndex ^= 8 },
		"a file ends earlier":      func(state *types.PersistentState) { state.Segments[0].MaxIndex ^= 1 },
		"the last file is written": func(state *types.PersistentState) { state.Segments[len(state.Segments)-1].SealTime = time.Unix(1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(s.dir)))
			var db metadb.BoltMetaDB
			state, err := db.Load(dir)
			require.NoError(t, err)
			require.Greater(t, len(state.Segments), 1)
			damage(&state)
			require.NoError(t, db.CommitState(state))
			require.NoError(t, db.Close())
			damaged := &segments{dir: dir, log: s.log, ownLog: hclog.NewNullLogger(), size: s.size}
			err = damaged.open()
			if err == nil {
				require.NoError(t, damaged.Close())
			}
			require.ErrorIs(t, err, errCorrupt)
			requireWords(t, err, "wal-meta.db", "join anew")
		})
	}
	// A list of files without a checksum is accepted.
	var db metadb.BoltMetaDB
	_, err = db.Load(dir)
	require.NoError(t, err)
	require.NoError(t, db.SetStable([]byte(walSumsKey), nil))
	require.NoError(t, db.Close())
	require.NoError(t, s.open())
	last, err := s.LastIndex()
	require.NoError(t, err)
	require.EqualValues(t, 20, last)
	require.NoError(t, s.Close())
}

// A log that was closed for its next file and cannot be opened again ends the server, with the reason,
// before raft meets a log that is closed.
func TestALogThatCannotBeOpenedAgainEndsTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := smallSegments(t, dir)
	_, err := fill(t, s, 1, 4)
	require.NoError(t, err)
	var lost error
	s.lost = func(err error) {
		lost = err
		require.False(t, s.mu.TryRLock(), "raft could read meanwhile")
	}
	require.NoError(t, os.Remove(filepath.Join(dir, walMetaFile)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, walMetaFile), []byte("no database"), 0o600))
	err = s.reopen()
	require.Equal(t, lost, err)
	requireWords(t, err, "could not be opened again", "start the server again")
	require.False(t, store.IsScarce(err), "it is not waited for")
	for _, scarce := range []error{syscall.ENOSPC, syscall.EMFILE} {
		require.True(t, store.IsScarce(scarce))
		require.False(t, store.IsScarce(errClosed(scarce)), "it is not waited for")
	}
	require.Error(t, s.GetLog(1, &raft.Log{}))
	_, err = fill(t, s, 5, 1)
	require.Error(t, err)
}
