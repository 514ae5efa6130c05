package store

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// saved is a backup of what was flushed.
func saved(t *testing.T, b *testBundle) (*Backup, []byte) {
	t.Helper()
	require.NoError(t, b.s.Flush())
	out, err := b.s.Backup()
	require.NoError(t, err)
	content, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.EqualValues(t, out.Size, len(content))
	return out, content
}

func TestABackupIsTheStateOfOneIndex(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	session := b.openSession("w")
	done := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 3}, Key: "k", Hash: []byte("h")}, &task.Spec{Handler: "h"})
	b.work(done, 0, 3, 3, session)
	b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 2}}, &task.Spec{Handler: "h"})
	out, content := saved(t, b)
	index, digest := b.s.Machine().Digest()
	require.Equal(t, Contents{Jobs: 2, Unfinished: 1, Keys: 1, Sessions: 1}, out.Contents)
	require.Equal(t, index, out.Meta.AppliedIndex)
	require.Equal(t, digest, out.Meta.Digest)
	b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, &task.Spec{Handler: "h"})

	dir, id := t.TempDir(), Identity{NodeID: "n2", ServerID: "s2"}
	path, meta, err := Receive(dir, bytes.NewReader(content))
	require.NoError(t, err)
	require.Equal(t, index, meta.AppliedIndex)
	require.NoError(t, Put(path, dir, id))
	restored, err := OpenState(dir, id, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, restored.Close()) }()
	at, got := restored.Machine().Digest()
	require.Equal(t, []uint64{index, digest}, []uint64{at, got})
	require.ErrorContains(t, Put(path, dir, id), "is there already")

	// A log goes on behind it.
	snapshots, err := OpenSnapshots(restored, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	place := SnapshotPlace{Index: index, Term: 1, StateIndex: index, ConfigurationIndex: index}
	require.NoError(t, snapshots.Begin(place, encodedConfiguration()))
	require.Error(t, snapshots.Begin(place, encodedConfiguration()))
	newest, ok := snapshots.Newest()
	require.True(t, ok)
	require.Equal(t, index, newest.Index)
	require.Equal(t, firstConfiguration, newest.Configuration)
}

func TestCompactWritesAllAndOnlyWhatIsThere(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i := range 20 {
		b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, &task.Spec{Handler: "h", SharedPayload: bytes.Repeat([]byte{byte(i)}, 100<<10)})
	}
	require.NoError(t, b.s.Flush())
	for id := uint64(1); id <= 19; id++ {
		b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}}})
	}
	b.clock += int64(task.RetainOther) + 1
	for id := uint64(1); id <= 19; id++ {
		b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{id}}}})
	}
	for range 3 {
		require.NoError(t, b.s.Flush())
	}
	index, digest := b.s.Machine().Digest()
	require.NoError(t, b.s.Close())
	before, after, err := Compact(b.s.dir, testIdentity)
	require.NoError(t, err)
	require.Less(t, after, before/2)
	left, err := filepath.Glob(filepath.Join(b.s.dir, "state.db*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(b.s.dir, FileName)}, left)
	b.open(b.s.dir)
	at, got := b.s.Machine().Digest()
	require.Equal(t, []uint64{index, digest}, []uint64{at, got})
	// What a crash leaves is in nobody's way.
	require.NoError(t, b.s.Close())
	require.NoError(t, os.WriteFile(filepath.Join(b.s.dir, compactingFile), []byte("half a file"), 0o600))
	_, _, err = Compact(b.s.dir, testIdentity)
	require.NoError(t, err)
	b.open(b.s.dir)
}

func encodedConfiguration() []byte { return raft.EncodeConfiguration(firstConfiguration) }
