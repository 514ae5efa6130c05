//go:build linux

package smalldisk

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// insideEnv says to a process that it is root of a namespace of its own. Tests of clusters forget what begins
// with ROTA_.
const insideEnv = "SMALLDISK_INSIDE"

// Elsewhere says that this process may not mount file systems, and that another one, which may, has run the
// test instead. A test that it returns true to is over.
func Elsewhere(t *testing.T) bool {
	t.Helper()
	probe := t.TempDir()
	err := syscall.Mount("tmpfs", probe, "tmpfs", 0, "size=4k")
	if err == nil {
		if err := syscall.Unmount(probe, syscall.MNT_DETACH); err != nil {
			t.Fatalf("unmount %s: %v", probe, err)
		}
		return false
	}
	if os.Getenv(insideEnv) != "" {
		t.Fatalf("a small file system cannot be mounted here, not even in a namespace of its own: run this test as root (%v)", err)
	}
	again(t)
	return true
}

// again runs a test once more, by a process that is root of a namespace of its own.
func again(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var only []string
	for name := range strings.SplitSeq(t.Name(), "/") {
		only = append(only, "^"+regexp.QuoteMeta(name)+"$")
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.v", "-test.run", strings.Join(only, "/"))
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as root of a namespace of its own: %v (where there are none, run this test as root)\n%s", err, out)
	}
	// A pattern that matches nothing is no failure of the process.
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("another process has not run it:\n%s", out)
	}
}

// Mount makes a folder a file system of its own until the test ends. options are those of tmpfs, such as
// size=512k.
func Mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}
