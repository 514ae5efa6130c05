package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// Whatever bit is flipped in the header of a page or in its first elements, the file is refused or what is read is
// what was written. Nothing is hidden, and bbolt never sees a page that would end the process.
func TestAFlippedBitInTheStructureOfAPageHidesNothing(t *testing.T) {
	t.Parallel()
	content, want := filledFile(t)
	const page, places = 4096, pageHeader + 3*pageElement
	path := filepath.Join(t.TempDir(), FileName)
	refused := 0
	for start := 2 * page; start < len(content); start += page {
		for at := range places {
			mask := byte(1) << (at % 8)
			data := bytes.Clone(content)
			data[start+at] ^= mask
			// Each time a new file: bbolt keeps the lock of a file that it panics on.
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.WriteFile(path, data, 0o600))
			got, err := readDamaged(t, filepath.Dir(path))
			if err != nil {
				refused++
				require.ErrorIs(t, err, ErrCorrupt, "page %d, byte %d, %#x", start/page, at, mask)
				continue
			}
			require.Equal(t, want, got, "page %d, byte %d, %#x", start/page, at, mask)
		}
	}
	require.Positive(t, refused)
}

// If a page hides a key, the key is missed, even if everything else is undamaged.
func TestAKeyThatAPageHidesIsMissed(t *testing.T) {
	t.Parallel()
	content, _ := filledFile(t)
	const page = 4096
	hidden := 0
	for start := 2 * page; start < len(content); start += page {
		if content[start+8] != leafPage || content[start+10] < 2 {
			continue
		}
		data := bytes.Clone(content)
		data[start+10]--
		_, err := readDamaged(t, copyOf(t, data))
		if err != nil {
			hidden++
			require.ErrorIs(t, err, ErrCorrupt)
		}
	}
	require.Positive(t, hidden)
}

// A file that was made before its keys were counted is counted when it is opened.
func TestAFileWhoseKeysWereNeverCountedIsCounted(t *testing.T) {
	t.Parallel()
	content, want := filledFile(t)
	dir := copyOf(t, content)
	uncount(t, filepath.Join(dir, FileName))
	for range 2 {
		got, err := readDamaged(t, dir)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func uncount(t *testing.T, path string) {
	t.Helper()
	b, err := bolt.Open(path, 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, b.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return b.SetSequence(0) })
	}))
	require.NoError(t, b.Close())
}
