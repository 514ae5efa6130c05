package disk

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
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

// sh runs a script in the mount. The script itself changes to the mount: this process would wait for a process that
// starts there, which in turn waits for the mount, and this process serves that.
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

func TestASyncHangsUntilItIsCalledOff(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf a >a`))
	d.SetHung(true)
	done := make(chan error, 1)
	go func() { done <- sh(d, `printf b >>a; sync a; printf done >b`) }()
	require.Eventually(t, func() bool { return d.Harmed() > 0 }, time.Minute, time.Millisecond)
	require.Equal(t, "none", content(t, d, "b"))
	require.NoError(t, sh(d, `printf c >c`), "what does not sync does not wait")
	d.SetHung(false)
	require.NoError(t, <-done)
	require.Equal(t, "done", content(t, d, "b"))
}

func TestAProcessThatHangsInASyncCanBeKilled(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	d.SetHung(true)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", `cd "$0"; printf a >a; exec sync a`, d.Mount)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return d.Harmed() > 0 }, time.Minute, time.Millisecond)
	cancel()
	require.Error(t, cmd.Wait())
	lost, err := d.PowerLoss(false)
	require.NoError(t, err)
	require.Positive(t, lost, "a sync that did not end has made nothing durable")
	require.Equal(t, "none", content(t, d, "a"))
}

func TestNewNamesAreGoneWithoutASyncOfTheirFolder(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `mkdir in out; printf 1 >in/made; printf 2 >in/moved; sync in/moved in; mv in/moved out/moved
		printf 3 >in/kept; sync in/kept; mv in/kept out/kept; sync out`))
	require.Equal(t, "2", content(t, d, "out/moved"))
	require.NoError(t, sh(d, `printf 4 >out/new; mv out/new out/newer; rm out/kept`))
	_, err := d.PowerLoss(false)
	require.NoError(t, err)
	for name, want := range map[string]string{
		"in/made": "", "in/moved": "none", "out/moved": "2", "in/kept": "none", "out/kept": "3", "out/new": "none", "out/newer": "none",
	} {
		require.Equal(t, want, content(t, d, name), name)
	}
	require.NoError(t, sh(d, `[ ! -e out/new ] && [ ! -e out/newer ] && [ "$(cat out/kept)" = 3 ]`), "it is seen through the mount too")
}

func TestAFileThatWasRemovedComesBackWithWhatWasSynced(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf old >a; sync a .; printf new >a; rm a; printf other >a`))
	_, err := d.PowerLoss(false)
	require.NoError(t, err)
	require.Equal(t, "old", content(t, d, "a"))
}

func TestDamageIsDoneWhereSomethingIsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small, large := filepath.Join(dir, "small"), filepath.Join(dir, "sub", "large")
	require.NoError(t, os.Mkdir(filepath.Dir(large), 0o700))
	before := append(bytes.Repeat([]byte{0xaa}, 1000), make([]byte, Small)...)
	require.NoError(t, os.WriteFile(small, []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(large, before, 0o600))
	files, err := Files(dir, 100)
	require.NoError(t, err)
	require.Equal(t, []File{{large, int64(len(before))}}, files)

	random := rand.New(rand.NewPCG(1, 1))
	flipped, err := Flip(large, random)
	require.NoError(t, err)
	require.Positive(t, flipped)
	after, err := os.ReadFile(large)
	require.NoError(t, err)
	require.NotEqual(t, before[:1000], after[:1000])
	require.Equal(t, before[1000:], after[1000:], "nothing is written there")

	lost, err := CutShort(large, random)
	require.NoError(t, err)
	require.Positive(t, lost, "what is cut off is missed")
	info, err := os.Stat(large)
	require.NoError(t, err)
	require.Less(t, info.Size(), int64(1000))

	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, make([]byte, 5000), 0o600))
	for _, how := range []func(string, *rand.Rand) (int64, error){Flip, CutShort} {
		done, err := how(empty, random)
		require.NoError(t, err)
		require.Zero(t, done)
	}
}

func TestAFlipInASmallFileIsHardToSee(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	path := filepath.Join(t.TempDir(), "record.json")
	const text = `{"Index":455}`
	seen := map[string]bool{}
	for range 300 {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		flipped, err := Flip(path, random)
		require.NoError(t, err)
		require.EqualValues(t, 1, flipped)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Regexp(t, `^{"[A-Za-z]{5}":[0-9]{3}}$`, string(after))
		require.NotEqual(t, text, string(after))
		seen[string(after)] = true
	}
	require.Contains(t, seen, `{"Index":555}`)
	require.Contains(t, seen, `{"index":455}`)
	for _, other := range []string{"--", "\xff"} {
		require.NoError(t, os.WriteFile(path, []byte(other), 0o600))
		flipped, err := Flip(path, random)
		require.NoError(t, err)
		require.EqualValues(t, 1, flipped)
	}
}

func TestAPowerLossTakesNothingBackOfAFileThatIsGoneForGood(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf old >a; sync a .; printf newer >a; rm a; sync .`))
	_, err := d.PowerLoss(false)
	require.NoError(t, err)
	require.Equal(t, "none", content(t, d, "a"))
}
