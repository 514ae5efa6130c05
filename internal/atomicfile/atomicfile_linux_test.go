package atomicfile

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/smalldisk"
)

func TestAFullDiskLeavesTheOldFileAndTheSpace(t *testing.T) {
	t.Parallel()
	if smalldisk.Elsewhere(t) {
		return
	}
	dir := t.TempDir()
	smalldisk.Mount(t, dir, "size=64k")
	path := filepath.Join(dir, "record")
	require.NoError(t, Write(path, []byte("old")))
	require.ErrorIs(t, Write(path, make([]byte, 1<<20)), syscall.ENOSPC)
	requireOnly(t, path, []byte("old"))
	require.NoError(t, Write(path, []byte("new")))
	requireOnly(t, path, []byte("new"))
}
