package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReceive: whatever a peer sends, receiving it does not panic, takes nothing but a
// whole and unchanged state, and leaves nothing of what it refuses.
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

// framed is a stream of a file of a length, with the checksum that it should have.
func framed(length uint64, content []byte) []byte {
	sum := sha256.Sum256(content)
	stream := binary.BigEndian.AppendUint64([]byte(streamMagic), length)
	return append(append(stream, content...), sum[:]...)
}
