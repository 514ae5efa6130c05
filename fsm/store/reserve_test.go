package store

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that outgrows the reserved address space is mapped again, and everybody waits for that.
func TestAFileMayGrowFarBeforeItIsMappedAnew(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, uint64(reservedSpace), addressSpace(), "this process has no limit")
	path := filepath.Join(t.TempDir(), FileName)
	require.NoError(t, create(path, testIdentity))
	b, err := openReserved(path)
	require.NoError(t, err)
	require.NoError(t, b.Close())
}
