//go:build linux

package smalldisk

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestASmallDiskIsFull(t *testing.T) {
	t.Parallel()
	if Elsewhere(t) {
		return
	}
	dir := t.TempDir()
	Mount(t, dir, "size=64k")
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a megabyte in 64 KiB: %v", err)
	}
}

// Whoever may mount has no need of it, and it works for them as for others.
func TestAnotherProcessRunsATestInANamespaceOfItsOwn(t *testing.T) {
	t.Parallel()
	if os.Getenv(insideEnv) == "" {
		again(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Fatalf("it is run by user %d", os.Geteuid())
	}
	Mount(t, t.TempDir(), "size=4k")
}
