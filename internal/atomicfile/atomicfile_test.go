package atomicfile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func requireOnly(t *testing.T, path string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got), "%s holds other bytes", path)
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
}

func TestAWriteReplacesAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	for _, content := range []string{"a first record", "a second"} {
		require.NoError(t, Write(path, []byte(content)))
		requireOnly(t, path, []byte(content))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestAFileIsMadeOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path+suffix, make([]byte, 1000), 0o600)) // a crash has left it
	require.NoError(t, Create(path, []byte("first")))
	require.ErrorIs(t, Create(path, []byte("second")), fs.ErrExist)
	requireOnly(t, path, []byte("first"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestWhatACrashHasLeftIsInNobodysWay(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	require.NoError(t, os.WriteFile(path+suffix, make([]byte, 1000), 0o600))
	require.NoError(t, Write(path, []byte("new")))
	requireOnly(t, path, []byte("new"))
}

func TestARenameReplacesAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "received"), filepath.Join(dir, "state")
	require.NoError(t, os.WriteFile(to, []byte("old"), 0o600))
	require.NoError(t, os.WriteFile(from, []byte("new"), 0o600))
	require.NoError(t, Rename(from, to))
	requireOnly(t, to, []byte("new"))
	require.ErrorIs(t, Rename(from, to), os.ErrNotExist)
	requireOnly(t, to, []byte("new"))
}

func TestAWriteThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "full"), 0o700))
	require.Error(t, Write(path, []byte("a file instead of a folder")))
	require.NoFileExists(t, path+suffix)
	require.ErrorIs(t, Write(filepath.Join(path, "missing", "record"), nil), os.ErrNotExist)
}
