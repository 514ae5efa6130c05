package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// copyOf writes a file's content to a folder of its own, as a server's state.
func copyOf(t testing.TB, content []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), content, 0o600))
	return dir
}

// filledFile returns the file of a filled state, and what is read from it.
func filledFile(t testing.TB) (content []byte, read string) {
	t.Helper()
	b := newFilled(t)
	b.reopen() // so that it is read from disk
	read, err := readEverything(b.s)
	require.NoError(t, err)
	used := int64(0)
	require.NoError(t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error { used = tx.Size(); return nil }))
	require.NoError(t, b.s.Abandon()) // a flush would remove what is left of the forgotten job
	content, err = os.ReadFile(filepath.Join(b.s.dir, FileName))
	require.NoError(t, err)
	return content[:used], read // bbolt makes the file larger than it is in use
}

// readDamaged opens and reads a file that was tampered with.
func readDamaged(t testing.TB, dir string) (read string, err error) {
	t.Helper()
	s, err := OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer func() { require.NoError(t, s.Abandon()) }()
	return readEverything(s)
}

func TestAFlippedByteInAnyKindOfValueIsNeverServed(t *testing.T) {
	t.Parallel()
	content, _ := filledFile(t)
	for _, bucket := range allBuckets {
		t.Run(string(bucket), func(t *testing.T) {
			t.Parallel()
			dir := copyOf(t, content)
			path := filepath.Join(dir, FileName)
			var key, value []byte
			b, err := bolt.Open(path, 0o600, boltOptions())
			require.NoError(t, err)
			require.NoError(t, b.View(func(tx *bolt.Tx) error {
				k, v := tx.Bucket(bucket).Cursor().First()
				key, value = bytes.Clone(k), bytes.Clone(v)
				return nil
			}))
			require.NotEmpty(t, key, "the test has no value of this kind")
			require.NoError(t, b.Close())
			for _, at := range []int{0, len(value) / 2, len(value) - 1} {
				damaged := bytes.Clone(value)
				damaged[at] ^= 0x40
				rewrite(t, path, bucket, key, damaged)
				_, err := readDamaged(t, dir)
				require.ErrorIs(t, err, ErrCorrupt, "byte %d of %d", at, len(value))
			}
			rewrite(t, path, bucket, key, nil)
			_, err = readDamaged(t, dir)
			require.ErrorIs(t, err, ErrCorrupt, "an empty value")
			rewrite(t, path, bucket, key, value)
			_, err = readDamaged(t, dir)
			require.NoError(t, err)
		})
	}
}

func rewrite(t testing.TB, path string, bucket, key, value []byte) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, b.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put(key, value) }))
	require.NoError(t, b.Close())
}

func TestAValueUnderAnotherKeyIsNotServed(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	db := b.s.pair.Load().db
	require.NoError(t, db.bolt.Update(func(tx *bolt.Tx) error {
		jobs := tx.Bucket(jobsBucket)
		return jobs.Put(key64(inlineJob), bytes.Clone(jobs.Get(key64(doneJob))))
	}))
	_, err := b.s.Job(inlineJob)
	require.ErrorIs(t, err, ErrCorrupt)
	require.Panics(t, func() { db.Job(inlineJob) }, "Apply continues without data that it needs")
}

// TestADamagedFileIsNeverServed flips bits in keys and values, wherever they are. A read must return what was
// written, or an error. The test leaves out how bbolt's pages refer to each other: bbolt trusts that, and ends the
// process where it is wrong.
func TestADamagedFileIsNeverServed(t *testing.T) {
	t.Parallel()
	content, want := filledFile(t)
	dir := copyOf(t, content)
	type place struct {
		stored []byte // a key and its value, as they stand in the file
		at     int
	}
	var places []place
	b, err := bolt.Open(filepath.Join(dir, FileName), 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, b.View(func(tx *bolt.Tx) error {
		for _, bucket := range allBuckets {
			err := tx.Bucket(bucket).ForEach(func(k, v []byte) error {
				stored := append(bytes.Clone(k), v...)
				for _, at := range []int{0, len(k) - 1, len(k), len(k) + len(v)/2, len(stored) - 1} {
					places = append(places, place{stored, at})
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, b.Close())
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range places {
		flipped := bytes.Clone(p.stored)
		flipped[p.at] ^= 1 << random.IntN(8)
		// Everywhere: bbolt leaves old copies behind, and only bbolt knows which copy counts.
		damaged := bytes.ReplaceAll(content, p.stored, flipped)
		require.NotEqual(t, content, damaged)
		require.NoError(t, os.WriteFile(filepath.Join(dir, FileName), damaged, 0o600))
		got, err := readDamaged(t, dir)
		require.Error(t, err, "byte %d of %x was served: %v", p.at, p.stored[:min(40, len(p.stored))], got == want)
	}
}

func TestATruncatedFileIsRefused(t *testing.T) {
	t.Parallel()
	content, _ := filledFile(t)
	for _, size := range []int{0, 1, 100, 4096, 8191, 8192, 3 * 4096, len(content) / 2, len(content) - 4096, len(content) - 1} {
		dir := copyOf(t, content[:size])
		_, err := OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, ErrCorrupt, "%d bytes of %d", size, len(content))
		left, err := os.ReadFile(filepath.Join(dir, FileName))
		require.NoError(t, err)
		require.True(t, bytes.Equal(content[:size], left), "a file of %d bytes was changed", size)
	}
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	_, err := OpenState(copyOf(t, bytes.Repeat([]byte("no database "), 1000)), testIdentity, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, ErrCorrupt)

	dir := t.TempDir()
	b, err := bolt.Open(filepath.Join(dir, FileName), 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, b.Close())
	_, err = OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, ErrCorrupt, "a database of something else")
}

func TestAFileOfAnotherServerOrFormatIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	require.NoError(t, b.s.Close())
	for _, id := range []Identity{{NodeID: "n2", ServerID: "s1"}, {NodeID: "n1", ServerID: "s2"}} {
		_, err := OpenState(b.s.dir, id, b.s.log)
		require.ErrorContains(t, err, "belongs to node n1")
		require.NotErrorIs(t, err, ErrCorrupt)
	}
	for _, unknown := range []uint32{format + 1, oldestFormat - 1} {
		setFormat(t, b.s.dir, unknown)
		_, err := OpenState(b.s.dir, testIdentity, b.s.log)
		require.ErrorContains(t, err, fmt.Sprintf("format %d", unknown))
		require.NotErrorIs(t, err, ErrCorrupt)
	}
	setFormat(t, b.s.dir, oldestFormat) // this format has the same buckets as the one before
	s, err := OpenState(b.s.dir, testIdentity, b.s.log)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// setFormat changes the format number of a file that nobody has open, and nothing else.
func setFormat(t *testing.T, dir string, f uint32) {
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		meta := &logpb.Meta{}
		if err := getMeta(tx, meta); err != nil {
			return err
		}
		for _, name := range allBuckets {
			if tx.Bucket(name) != nil && !slices.ContainsFunc(bucketsOf(f), func(b []byte) bool { return bytes.Equal(b, name) }) {
				require.NoError(t, tx.DeleteBucket(name))
			}
		}
		meta = proto.CloneOf(meta)
		meta.Format = f
		return putProto(tx, metaBucket, metaKey, meta)
	}))
	require.NoError(t, db.Close())
}

func TestAFileInUseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	_, err := OpenState(b.s.dir, testIdentity, b.s.log)
	require.ErrorContains(t, err, "in use by another process")
	require.NotErrorIs(t, err, ErrCorrupt)
}

func TestAFolderInPlaceOfTheFileIsNotCalledCorrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, FileName), 0o700))
	_, err := OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
	require.Error(t, err)
	require.ErrorContains(t, err, "not a regular file")
	require.NotErrorIs(t, err, ErrCorrupt)
}

// TestADamagedStateIsNotStreamed, whether its meta record is gone or changed.
func TestADamagedStateIsNotStreamed(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	db := b.s.pair.Load().db
	for _, damaged := range [][]byte{{1, 2, 3, 4, 5}, nil} {
		require.NoError(t, db.bolt.Update(func(tx *bolt.Tx) error {
			if damaged == nil {
				return tx.Bucket(metaBucket).Delete(metaKey)
			}
			return tx.Bucket(metaBucket).Put(metaKey, damaged)
		}))
		_, err := b.s.stream()
		require.ErrorIs(t, err, ErrCorrupt)
	}
}
