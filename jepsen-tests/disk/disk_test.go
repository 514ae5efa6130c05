package disk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mounted is a disk. Its files are written by another process than this one, which serves
// them: see the package's comment.
func mounted(t *testing.T) *Disk {
	t.Helper()
	if err := Available(); err != nil {
		t.Skip("no such disks here:", err)
	}
	dir := t.TempDir()
	d, err := Mount(filepath.Join(dir, "below"), filepath.Join(dir, "mount"), 1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Unmount()) })
	return d
}

// sh runs a script in the mount. It is the script that goes there: a new process that
// starts there would be waited for by the one that has to let it in.
func sh(d *Disk, script string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-ec", `cd "$0"; `+script, d.Mount).CombinedOutput()
	if err != nil {
		return errors.New(string(out))
	}
	return nil
}

func content(t *testing.T, d *Disk, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(d.Folder, name))
	if errors.Is(err, os.ErrNotExist) {
		return "none"
	}
	require.NoError(t, err)
	return string(data)
}

func TestPowerLossTakesBackWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf old >a; sync a; printf new >a; printf lost >b; printf kept >c; sync c`))
	require.Equal(t, "new", content(t, d, "a"))
	lost, err := d.PowerLoss(false)
	require.NoError(t, err)
	require.Positive(t, lost)
	require.Equal(t, "old", content(t, d, "a"))
	require.Equal(t, "none", content(t, d, "b"))
	require.Equal(t, "kept", content(t, d, "c"))
	lost, err = d.PowerLoss(false)
	require.NoError(t, err)
	require.Zero(t, lost)
	require.NoError(t, sh(d, `[ "$(cat a)" = old ] && [ ! -e b ]`), "it is seen through the mount too")
}

func TestNamesAreDurableWhenTheirFolderIsSynced(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf 1 >a; sync a; printf 2 >new; sync new; mv new a; printf x >gone; sync gone .; rm gone`))
	require.Equal(t, "2", content(t, d, "a"))
	require.Equal(t, "none", content(t, d, "gone"))
	require.NoError(t, sh(d, `printf 3 >new; sync new; mv new a`))
	_, err := d.PowerLoss(false)
	require.NoError(t, err)
	require.Equal(t, "2", content(t, d, "a"), "the folder was synced behind the first rename, not behind the second")
	require.Equal(t, "3", content(t, d, "new"))
	require.Equal(t, "x", content(t, d, "gone"))
}

func TestTornWritesKeepSomeSectors(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `head -c 65536 /dev/zero >a; sync a; head -c 65536 /dev/zero | tr '\0' 1 | dd of=a conv=notrunc status=none bs=64k`))
	_, err := d.PowerLoss(true)
	require.NoError(t, err)
	data := []byte(content(t, d, "a"))
	require.Len(t, data, 65536)
	ones := bytes.Count(data, []byte("1"))
	require.Positive(t, ones)
	require.Less(t, ones, 65536)
	for at := 0; at < len(data); at += sector {
		require.Contains(t, []int{0, sector}, bytes.Count(data[at:at+sector], []byte("1")), "a sector is written as a whole")
	}
}

func TestAFullDiskRefusesToGrowAndTakesChanges(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf aaaa >a`))
	d.SetFull(true)
	require.Error(t, sh(d, `printf b >>a`))
	require.Error(t, sh(d, `printf b >b`))
	require.NoError(t, sh(d, `truncate -s 65536 a`), "a length needs no space")
	require.Error(t, sh(d, `printf b | dd of=a conv=notrunc bs=1 seek=40000 status=none`))
	require.NoError(t, sh(d, `truncate -s 4 a`))
	require.NoError(t, sh(d, `printf bb | dd of=a conv=notrunc status=none`))
	require.Positive(t, d.Harmed())
	d.SetFull(false)
	require.NoError(t, sh(d, `printf c >>a`))
	require.Equal(t, "bbaac", content(t, d, "a"))
}

func TestAFailingDiskFailsWritesAndSyncs(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf a >a`))
	d.SetFailing(true)
	require.Error(t, sh(d, `sync a`))
	require.Error(t, sh(d, `printf b >>a`))
	d.SetFailing(false)
	require.NoError(t, sh(d, `sync a`))
}
