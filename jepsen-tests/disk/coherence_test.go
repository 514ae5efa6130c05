package disk

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mappedFile, in the environment of this test's own binary, is the file that it maps.
const mappedFile = "DISK_TEST_MAPPED_FILE"

// TestAMappedFileShowsWhatWasWritten: bbolt writes its file and reads it through a mapping,
// while a leader that sends the file opens it and reads it ahead of what it wants.
func TestAMappedFileShowsWhatWasWritten(t *testing.T) {
	t.Parallel()
	if path := os.Getenv(mappedFile); path != "" {
		require.NoError(t, writeMapped(path))
		return
	}
	d := mounted(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), mappedFile+"="+filepath.Join(d.Mount, "file"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

// writeMapped writes a file page by page, looks at each through a mapping, and opens and reads
// the file all the while.
func writeMapped(path string) error {
	const page, pages = 4096, 4096
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(page * pages); err != nil {
		return err
	}
	seen, err := syscall.Mmap(int(f.Fd()), 0, page*pages, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Munmap(seen) }()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(stop)
	for range 4 {
		readers.Go(func() { readAgain(path, stop) })
	}
	data := make([]byte, page)
	for i := range pages {
		for k := range data {
			data[k] = byte(i%255 + 1)
		}
		if _, err := f.WriteAt(data, int64(i)*page); err != nil {
			return err
		}
		if got := seen[i*page]; got != data[0] {
			return fmt.Errorf("page %d was written as %d and is seen as %d", i, data[0], got)
		}
	}
	return nil
}

func readAgain(path string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		f, err := os.Open(path)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, f)
		_ = f.Close()
	}
}

func TestWhatIsDoneFromBelowIsSeenByWhoOpensNext(t *testing.T) {
	t.Parallel()
	d := mounted(t)
	require.NoError(t, sh(d, `printf old >a; sync a; [ "$(cat a)" = old ]`))
	require.NoError(t, os.WriteFile(filepath.Join(d.Folder, "a"), []byte("new"), 0o600))
	require.NoError(t, sh(d, `[ "$(cat a)" = new ]`))
	require.NoError(t, os.Truncate(filepath.Join(d.Folder, "a"), 1))
	require.NoError(t, sh(d, `[ "$(cat a)" = n ]`))
}
