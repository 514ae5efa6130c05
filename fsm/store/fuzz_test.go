package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// FuzzReceive: whatever a peer sends, Receive does not panic, accepts only a complete and unchanged state, and
// leaves nothing of what it refuses.
func FuzzReceive(f *testing.F) {
	b := newBundle(f)
	sent, err := b.s.stream()
	require.NoError(f, err)
	whole, err := io.ReadAll(sent)
	require.NoError(f, err)
	require.NoError(f, sent.Close())
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole[:streamHeader])
	f.Add([]byte{})
	for _, content := range [][]byte{{}, []byte("no database"), whole[streamHeader : streamHeader+8192]} {
		f.Add(framed(uint64(len(content)), content))
	}
	f.Add(framed(math.MaxUint64, nil))
	f.Add(framed(math.MaxInt64, nil))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, stream []byte) {
		path, meta, err := Receive(dir, bytes.NewReader(stream))
		if err == nil {
			require.NotNil(t, meta)
			received, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(stream, framed(uint64(len(received)), received)))
			require.NoError(t, os.Remove(path))
		}
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// FuzzDamagedFile: wherever a file is damaged, opening and reading it does not panic, and what is served is what was
// written. The references between bbolt's pages are left out, as in TestADamagedFileIsNeverServed: only keys and
// values are damaged.
func FuzzDamagedFile(f *testing.F) {
	content, want := filledFile(f)
	stored := storedIn(f, content)
	dir := f.TempDir()
	path := filepath.Join(dir, FileName)
	for i := range stored {
		f.Add(uint16(i), uint16(0), []byte{1}, uint16(i+1), uint16(9), []byte{0x80, 0xff})
	}
	f.Add(uint16(3), uint16(12), []byte{0, 0, 0, 0}, uint16(5), uint16(12), []byte{0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, first, at uint16, xor []byte, second, at2 uint16, xor2 []byte) {
		damaged := damage(content, stored, first, at, xor)
		damaged = damage(damaged, stored, second, at2, xor2)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		got, err := readDamaged(t, dir)
		if bytes.Equal(damaged, content) {
			require.NoError(t, err)
		}
		if err == nil {
			require.Equal(t, want, got)
		}
	})
}

// storedIn returns each key with its value, as they stand in a file.
func storedIn(t testing.TB, content []byte) (stored [][]byte) {
	t.Helper()
	b, err := bolt.Open(filepath.Join(copyOf(t, content), FileName), 0o600, boltOptions())
	require.NoError(t, err)
	require.NoError(t, b.View(func(tx *bolt.Tx) error {
		for _, bucket := range allBuckets {
			err := tx.Bucket(bucket).ForEach(func(k, v []byte) error {
				stored = append(stored, append(bytes.Clone(k), v...))
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, b.Close())
	return stored
}

// damage changes bytes of one stored key or value, from a given byte on, in every copy of it.
func damage(content []byte, stored [][]byte, which, at uint16, xor []byte) []byte {
	whole := stored[int(which)%len(stored)]
	changed := bytes.Clone(whole)
	for i, x := range xor {
		changed[(int(at)+i)%len(changed)] ^= x
	}
	return bytes.ReplaceAll(content, whole, changed)
}

// framed is the stream of a file of a given length, with the right checksum.
func framed(length uint64, content []byte) []byte {
	sum := sha256.Sum256(content)
	stream := binary.BigEndian.AppendUint64([]byte(streamMagic), length)
	return append(append(stream, content...), sum[:]...)
}
