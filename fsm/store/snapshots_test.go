package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

var (
	firstConfiguration  = raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a1"}}}
	secondConfiguration = raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "a1"}, {ID: "n2", Address: "a2"}}}
)

func openSnapshots(t testing.TB, b *testBundle) *Snapshots {
	t.Helper()
	s, err := OpenSnapshots(b.s, b.s.log)
	require.NoError(t, err)
	return s
}

// take takes a metadata-only snapshot, as raft does.
func take(t testing.TB, b *testBundle, s *Snapshots) (id string) {
	t.Helper()
	index, term, _ := b.s.Machine().Applied()
	sink, err := s.Create(raft.SnapshotVersionMax, index, term, firstConfiguration, 1, nil)
	require.NoError(t, err)
	require.NoError(t, b.s.Flush())
	sink.(Promiser).Promise(index)
	require.NoError(t, sink.Close())
	require.NoError(t, sink.Cancel(), "raft may cancel what is closed")
	return sink.ID()
}

// send reads a snapshot as a leader that installs it on a follower does.
func send(t testing.TB, s *Snapshots, id string) (*raft.SnapshotMeta, []byte) {
	t.Helper()
	meta, r, err := s.Open(id)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.EqualValues(t, meta.Size, len(content))
	return meta, content
}

// deliver writes a snapshot into a follower's sink and closes it, as raft does before
// it tells the state machine.
func deliver(t testing.TB, s *Snapshots, meta *raft.SnapshotMeta, content []byte) error {
	t.Helper()
	sink, err := s.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	require.NoError(t, err)
	if _, err = io.Copy(sink, bytes.NewReader(content)); err != nil {
		require.NoError(t, sink.Cancel())
		return err
	}
	return sink.Close()
}

func TestASnapshotOfMetadataStreamsTheLiveFile(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	s := openSnapshots(t, b)
	listed, err := s.List()
	require.NoError(t, err)
	require.Empty(t, listed)
	id := take(t, b, s)
	at, ok := s.Newest()
	require.True(t, ok)
	index := b.s.Machine().AppliedIndex()
	require.Equal(t, SnapshotPlace{index, 1, index, 1, firstConfiguration}, at)

	meta, _ := send(t, s, id)
	require.Equal(t, index, meta.Index)
	require.Equal(t, firstConfiguration, meta.Configuration)

	// Later the file has more. The snapshot then has the index, term and configuration of the file.
	b.s.Machine().ApplyConfiguration(index+3, 2, raft.EncodeConfiguration(secondConfiguration))
	b.submit(&logpb.Submit{Tasks: packed(2, 0)}, &task.Spec{Handler: "h"})
	meta, _ = send(t, s, id)
	require.Equal(t, index, meta.Index, "what is not on disk is not in the stream")
	require.NoError(t, b.s.Flush())
	meta, content := send(t, s, id)
	require.Equal(t, index+4, meta.Index)
	require.EqualValues(t, 1, meta.Term)
	require.Equal(t, secondConfiguration, meta.Configuration)
	require.Equal(t, index+3, meta.ConfigurationIndex)

	// The values in the list are those that raft took the snapshot with.
	listed, err = s.List()
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Equal(t, index, listed[0].Index)
	_, _, err = s.Open("other")
	require.Error(t, err)

	path, got, err := Receive(t.TempDir(), bytes.NewReader(content))
	require.NoError(t, err)
	require.Equal(t, index+4, got.AppliedIndex)
	require.FileExists(t, path)

	again := openSnapshots(t, b)
	require.Equal(t, s.newest, again.newest, "a snapshot outlives its process")
}

func TestAFollowerTakesOverWhatItReceived(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	meta, content := send(t, from, take(t, leader, from))
	changed, stop := follower.s.Watchers().Watch(liveJob)
	defer stop()
	require.NoError(t, deliver(t, to, meta, content))

	held, r, err := to.Open(to.newest.ID)
	require.NoError(t, err)
	require.Equal(t, meta.Index, held.Index)
	_, err = io.ReadAll(r)
	require.ErrorContains(t, err, "not taken over yet")
	require.NoError(t, to.TakeOver())
	require.NoError(t, r.Close())
	require.Error(t, to.TakeOver(), "there is nothing more to take over")

	_, want := leader.s.Machine().Digest()
	_, got := follower.s.Machine().Digest()
	require.Equal(t, want, got)
	require.Len(t, changed, 1, "those who wait on the old machine are woken")
	require.NoFileExists(t, filepath.Join(to.dir, receivedFile))
	wantRead, err := readEverything(leader.s)
	require.NoError(t, err)
	gotRead, err := readEverything(follower.s)
	require.NoError(t, err)
	require.Equal(t, wantRead, gotRead)
	// From now on the follower streams its own file.
	sent, _ := send(t, to, to.newest.ID)
	require.Equal(t, meta.Index, sent.Index)
}

// TestHealBringsInWhatACrashLeftBehind: raft lists a snapshot as soon as its sink is
// closed, and does not restore it at the next start.
func TestHealBringsInWhatACrashLeftBehind(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	meta, content := send(t, from, take(t, leader, from))
	require.NoError(t, deliver(t, to, meta, content))
	// The crash: Restore is never called.
	follower.reopen()
	require.Zero(t, follower.s.Machine().AppliedIndex())
	to = openSnapshots(t, follower)
	healed, err := to.Heal()
	require.NoError(t, err)
	require.True(t, healed)
	require.Equal(t, meta.Index, follower.s.Machine().AppliedIndex())
	_, want := leader.s.Machine().Digest()
	_, got := follower.s.Machine().Digest()
	require.Equal(t, want, got)
	healed, err = to.Heal()
	require.NoError(t, err)
	require.False(t, healed)

	// The crash comes after the state was taken over and before the received file is forgotten. That file is at its
	// new place, or, if the disk has lost the rename, at both.
	for _, both := range []bool{true, false} {
		require.NoError(t, deliver(t, to, meta, content))
		if !both {
			require.NoError(t, os.Remove(filepath.Join(to.dir, receivedFile)))
		}
		follower.reopen()
		to = openSnapshots(t, follower)
		healed, err = to.Heal()
		require.NoError(t, err)
		require.False(t, healed, "the state has it already")
		require.NoFileExists(t, filepath.Join(to.dir, receivedFile))
		require.False(t, to.newest.Received)
	}
}

// TestAReceivedStateThatWasDamagedReplacesNothing: it may stay on disk for long if the server crashes before it
// takes the state over.
func TestAReceivedStateThatWasDamagedReplacesNothing(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	meta, content := send(t, from, take(t, leader, from))
	require.NoError(t, deliver(t, to, meta, content))
	path := filepath.Join(to.dir, receivedFile)
	stored, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, int64(len(stored)/2)))
	follower.reopen()
	_, want := follower.s.Machine().Digest()
	_, err = openSnapshots(t, follower).Heal()
	require.ErrorIs(t, err, ErrCorrupt)
	follower.reopen()
	_, got := follower.s.Machine().Digest()
	require.Equal(t, want, got)
}

func TestWhatACrashLeftOfAReceiveIsSwept(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	meta, content := send(t, from, take(t, leader, from))
	sink, err := to.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	require.NoError(t, err)
	_, err = sink.Write(content[:len(content)/2])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(to.dir, receivedFile), content, 0o600))

	to = openSnapshots(t, follower)
	left, err := os.ReadDir(to.dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, sink.Cancel())
}

func TestACancelledSinkLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := openSnapshots(t, b)
	sink, err := s.Create(raft.SnapshotVersionMax, 5, 1, firstConfiguration, 1, nil)
	require.NoError(t, err)
	_, err = sink.Write([]byte("half"))
	require.NoError(t, err)
	require.NoError(t, sink.Cancel())
	require.NoError(t, sink.Close())
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Empty(t, left)
	_, ok := s.Newest()
	require.False(t, ok)
}

func TestADamagedStreamIsRefused(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	meta, content := send(t, from, take(t, leader, from))
	_, want := follower.s.Machine().Digest()
	check := func(damaged []byte, what string) {
		require.Error(t, deliver(t, to, meta, damaged), what)
		_, _, err := Receive(follower.s.dir, bytes.NewReader(damaged))
		require.Error(t, err, what)
	}
	for _, at := range []int{0, 7, 8, 15, 16, 100, 5000, len(content) / 2, len(content) - 40, len(content) - 1} {
		damaged := bytes.Clone(content)
		damaged[at] ^= 1
		check(damaged, "a flipped bit")
		check(content[:at], "cut short")
	}
	_, ok := to.Newest()
	require.False(t, ok)
	for _, dir := range []string{to.dir, follower.s.dir} {
		left, err := filepath.Glob(filepath.Join(dir, "*rece*"))
		require.NoError(t, err)
		require.Empty(t, left, "refused content is left on disk")
	}
	_, got := follower.s.Machine().Digest()
	require.Equal(t, want, got)
}

// unsyncedFile counts what was written and not synced.
type unsyncedFile struct{ unsynced, most int }

func (f *unsyncedFile) Write(p []byte) (int, error) {
	f.unsynced += len(p)
	f.most = max(f.most, f.unsynced)
	return len(p), nil
}

func (f *unsyncedFile) Sync() error { f.unsynced = 0; return nil }

// TestWhatIsReceivedIsSyncedAsItComes: a single large sync would hold up every other sync on the disk.
func TestWhatIsReceivedIsSyncedAsItComes(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3*receivedUnsynced)
	sum := sha256.Sum256(content)
	f := &unsyncedFile{}
	require.NoError(t, receiveInto(f, io.MultiReader(bytes.NewReader(content), bytes.NewReader(sum[:])), int64(len(content))))
	require.Zero(t, f.unsynced)
	require.Less(t, f.most, receivedUnsynced+receivedUnsynced/8)
}

// TestAStreamOfAnUnknownFormatIsRefused before it has replaced anything.
func TestAStreamOfAnUnknownFormatIsRefused(t *testing.T) {
	t.Parallel()
	leader := newFilled(t)
	require.NoError(t, leader.s.pair.Load().db.bolt.Update(func(tx *bolt.Tx) error {
		meta := &logpb.Meta{}
		if err := getMeta(tx, meta); err != nil {
			return err
		}
		meta.Format = format + 1
		return putProto(tx, metaBucket, metaKey, meta)
	}))
	sent, err := leader.s.stream()
	require.NoError(t, err)
	defer func() { require.NoError(t, sent.Close()) }()
	dir := t.TempDir()
	_, _, err = Receive(dir, sent)
	require.ErrorContains(t, err, "format")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestAStreamThatIsGivenUpEndsItsTransaction: otherwise the file could not be closed.
func TestAStreamThatIsGivenUpEndsItsTransaction(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	sent, err := b.s.stream()
	require.NoError(t, err)
	_, err = sent.Read(make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, sent.Close())
	require.NoError(t, b.s.Close())
	_, err = b.s.stream()
	require.Error(t, err, "the file is closed")
}

// TestAStreamMayTakeLongAsLongAsItGetsOn: otherwise a follower behind a slow link would never catch up.
func TestAStreamMayTakeLongAsLongAsItGetsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newFilled(t)
		sent, err := b.s.stream()
		require.NoError(t, err)
		for range 60 {
			_, err := io.ReadFull(sent, make([]byte, 100))
			require.NoError(t, err)
			time.Sleep(streamIdle / 2)
		}
		time.Sleep(streamIdle)
		_, err = io.ReadAll(sent)
		require.ErrorContains(t, err, "nothing of the state was read")
		require.NoError(t, sent.Close())
		require.NoError(t, b.s.Close())
	})
}

// TestAStreamEndsWhereItMakesTheFileGrowTooMuch: pages that a stream sees cannot be used again until it ends.
func TestAStreamEndsWhereItMakesTheFileGrowTooMuch(t *testing.T) {
	t.Parallel()
	for _, much := range []bool{false, true} {
		b := newFilled(t)
		b.submit(&logpb.Submit{Tasks: packed(60, 128<<10)}, &task.Spec{Handler: "h"})
		require.NoError(t, b.s.Flush())
		b.s.growth = 64 << 20
		if much {
			b.s.growth = 1 << 20
		}
		sent, err := b.s.stream()
		require.NoError(t, err)
		_, err = sent.Read(make([]byte, 10))
		require.NoError(t, err)
		b.submit(&logpb.Submit{Tasks: packed(60, 128<<10)}, &task.Spec{Handler: "h"})
		require.NoError(t, b.s.Flush())
		n, err := io.Copy(io.Discard, sent)
		if much {
			require.ErrorContains(t, err, "has grown to")
		} else {
			require.NoError(t, err)
			require.Equal(t, sent.size-10, n)
		}
		require.NoError(t, sent.Close())
	}
}

func TestADamagedSnapshotRecordIsRefused(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	s := openSnapshots(t, b)
	take(t, b, s)
	whole, err := os.ReadFile(s.path())
	require.NoError(t, err)
	for at := range whole {
		for bit := range 8 {
			whole[at] ^= 1 << bit
			require.NoError(t, os.WriteFile(s.path(), whole, 0o600))
			_, err := OpenSnapshots(b.s, b.s.log)
			require.ErrorIs(t, err, ErrSnapshotCorrupt, "%s", whole)
			whole[at] ^= 1 << bit
		}
	}
	require.NoError(t, os.WriteFile(s.path(), []byte("{"), 0o600))
	_, err = OpenSnapshots(b.s, b.s.log)
	require.ErrorIs(t, err, ErrSnapshotCorrupt)
}

// TestASnapshotRecordWithoutAChecksumIsSealed after it was checked against the log.
func TestASnapshotRecordWithoutAChecksumIsSealed(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	s := openSnapshots(t, b)
	take(t, b, s)
	old, err := json.Marshal(s.newest)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path(), old, 0o600))
	again := openSnapshots(t, b)
	require.Equal(t, s.newest, again.newest)
	require.True(t, again.unsealed)
	require.NoError(t, again.Seal())
	require.False(t, openSnapshots(t, b).unsealed)

	wrong := *s.newest
	wrong.Index += 100
	old, err = json.Marshal(wrong)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path(), old, 0o600))
	_, err = OpenSnapshots(b.s, b.s.log)
	require.ErrorIs(t, err, ErrSnapshotCorrupt, "its id names another index")
}

// TestAnOlderSnapshotReplacesNoNewerOne: raft makes a follower persist its own snapshot while the follower takes one
// over from the leader.
func TestAnOlderSnapshotReplacesNoNewerOne(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	follower.submit(&logpb.Submit{Tasks: packed(1, 0)}, &task.Spec{Handler: "h"})
	index, term, _ := follower.s.Machine().Applied()
	own, err := to.Create(raft.SnapshotVersionMax, index, term, firstConfiguration, 1, nil)
	require.NoError(t, err)
	own.(Promiser).Promise(index)

	meta, content := send(t, from, take(t, leader, from))
	require.Greater(t, meta.Index, index)
	require.NoError(t, deliver(t, to, meta, content))
	require.ErrorIs(t, own.Close(), ErrOutdated, "before it is taken over")
	require.NoError(t, own.Cancel())
	require.NoError(t, to.TakeOver())
	want, _ := to.Newest()
	require.Equal(t, meta.Index, want.Index)

	late, err := to.Create(raft.SnapshotVersionMax, index, term, firstConfiguration, 1, nil)
	require.NoError(t, err)
	late.(Promiser).Promise(index)
	require.ErrorIs(t, late.Close(), ErrOutdated, "after it was taken over")

	// Raft closes once more what Persist has closed, before it believes that the snapshot exists.
	early, err := to.Create(raft.SnapshotVersionMax, meta.Index, meta.Term, firstConfiguration, 1, nil)
	require.NoError(t, err)
	early.(Promiser).Promise(meta.Index)
	require.NoError(t, early.Close())
	leader.submit(&logpb.Submit{Tasks: packed(1, 0)}, &task.Spec{Handler: "h"})
	newer, more := send(t, from, take(t, leader, from))
	require.NoError(t, deliver(t, to, newer, more))
	require.ErrorIs(t, early.Close(), ErrOutdated)

	// Nor does an older one replace it that comes from a leader.
	require.ErrorIs(t, deliver(t, to, meta, content), ErrOutdated)
	got, _ := openSnapshots(t, follower).Newest()
	require.Equal(t, newer.Index, got.Index)
	require.NoError(t, to.TakeOver())
	_, digest := leader.s.Machine().Digest()
	_, has := follower.s.Machine().Digest()
	require.Equal(t, digest, has)
}

// TestTheSameStateUpToALowerIndexIsOneThatIsThere: the entries in between may be entries that the state machine
// never sees.
func TestTheSameStateUpToALowerIndexIsOneThatIsThere(t *testing.T) {
	t.Parallel()
	leader, follower := newFilled(t), newBundle(t)
	from, to := openSnapshots(t, leader), openSnapshots(t, follower)
	meta, content := send(t, from, take(t, leader, from))
	require.NoError(t, deliver(t, to, meta, content))
	require.NoError(t, to.TakeOver())
	own, err := to.Create(raft.SnapshotVersionMax, meta.Index+3, meta.Term, firstConfiguration, 1, nil)
	require.NoError(t, err)
	own.(Promiser).Promise(meta.Index)
	require.NoError(t, own.Close())

	sink, err := to.Create(meta.Version, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	require.NoError(t, err)
	_, err = sink.Write(content)
	require.NoError(t, err)
	require.NoError(t, sink.Close())
	_, r, err := to.Open(sink.ID())
	require.NoError(t, err, "raft has it taken over")
	require.NoError(t, r.Close())
	got, _ := to.Newest()
	require.Equal(t, meta.Index+3, got.Index)
	left, err := filepath.Glob(filepath.Join(to.dir, "*rece*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// It would fill the disk, which the log needs, and the leader would send it again.
func TestAStateThatTheDiskHasNoRoomForIsNotWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	header := binary.BigEndian.AppendUint64([]byte(streamMagic), uint64(freeSpace(dir)+1<<40))
	content := bytes.NewReader(make([]byte, 1<<20))
	_, _, err := Receive(dir, io.MultiReader(bytes.NewReader(header), content))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.EqualValues(t, 1<<20, content.Len(), "nothing of it was taken")
}

func TestAFileSystemThatDoesNotSayHowLargeItIsHasRoom(t *testing.T) {
	t.Parallel()
	require.Greater(t, freeSpace("/proc"), int64(1)<<60)
}
