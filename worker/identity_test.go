package worker

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A worker that takes itself for another one would take that one's session.
func TestNoFlippedBitOfTheIdentityIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, err := openIdentity(t.Context(), dir, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(id.close)
	require.NoError(t, id.opened(455))
	path := filepath.Join(dir, identityFile)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := range whole {
		for bit := range 8 {
			whole[at] ^= 1 << bit
			require.NoError(t, os.WriteFile(path, whole, 0o600))
			require.ErrorContains(t, (&identity{dir: dir}).load(), "is damaged", "%s", whole)
			whole[at] ^= 1 << bit
		}
	}
}

func TestAnIdentityWithoutAChecksumGetsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, identityFile)
	require.NoError(t, os.WriteFile(path, []byte(`{"worker_id":"0123","session_id":7}`), 0o600))
	for range 2 {
		id, err := openIdentity(t.Context(), dir, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Equal(t, "0123", id.id)
		require.EqualValues(t, 7, id.replaces)
		id.close()
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(data), "crc32c")
	}
}
