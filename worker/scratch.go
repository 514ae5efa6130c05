package worker

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// slotDir is the slot's working directory for a command that names none. It is made
// for the first one and kept while commands leave it as they found it: making and
// removing one costs more than looking whether it is empty.
func (w *Worker) slotDir(s *slot) (string, error) {
	if s.dir != "" {
		return s.dir, nil
	}
	dir, err := os.MkdirTemp(w.guardian.scratchDir(), fmt.Sprintf("slot%d-", s.number))
	if err != nil {
		return "", fmt.Errorf("make a working directory for the command: %w", err)
	}
	s.dir = dir
	return dir, nil
}

// emptySlotDir makes sure that the next command finds nothing of the last one.
func (w *Worker) emptySlotDir(s *slot) {
	if pristine(s.dir) {
		return
	}
	if err := removeAll(s.dir); err != nil {
		w.log.Warn("cannot remove the working directory of a command, another one is used from now on", "dir", s.dir, "err", err)
	}
	s.dir = ""
}

func pristine(dir string) bool {
	// By system calls: the runtime would try to poll the folder, for each command.
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer closeFiles(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil || info.Mode != unix.S_IFDIR|0o700 {
		return false
	}
	// It has room for more than the two entries that every folder has.
	var entries [512]byte
	n, err := unix.ReadDirent(fd, entries[:])
	if err != nil {
		return false
	}
	_, count, _ := unix.ParseDirent(entries[:n], -1, nil)
	return count == 0
}

// removeAll removes a folder even where commands have taken the rights to do so.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
