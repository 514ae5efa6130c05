//go:build linux

package command

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The folder of an agent without a data folder is where everybody may write. If it is gone, somebody else may have
// put something of the same name in its place.
func TestAFolderOfSomebodyElseIsNotUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/theirs", 0o777))
	require.NoError(t, os.Symlink(dir+"/theirs", dir+"/link"))
	for what, path := range map[string]string{"a link": dir + "/link", "a file": os.DevNull} {
		_, err := newFolder(path)
		require.Error(t, err, what)
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(dir+"/theirs", 65534, 65534))
		_, err := newFolder(dir + "/theirs")
		require.ErrorContains(t, err, "is not a folder of this user")
	}
	require.NoError(t, os.Mkdir(dir+"/open", 0o777))
	mine, err := newFolder(dir + "/open")
	require.NoError(t, err)
	require.True(t, mine.intact())
	require.NoError(t, os.Chmod(mine.path, 0o777))
	require.False(t, mine.intact(), "others may enter it")
	require.NoError(t, os.Chmod(mine.path, 0o700))
	require.True(t, mine.intact())
	require.NoError(t, os.Rename(mine.path, dir+"/moved"))
	require.NoError(t, os.Mkdir(mine.path, 0o700))
	require.False(t, mine.intact(), "it is another one")
}
