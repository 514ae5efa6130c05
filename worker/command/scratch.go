//go:build linux

package command

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/worker/guard"
)

// privateMode is that of folders which only this user may enter.
const privateMode = 0o700

// scratch is the folder in which working directories of commands are made. Tasks may remove it,
// and so do those who clean up /tmp: it is made again where it is missing.
type scratch struct {
	log *slog.Logger
	// base is where it is; empty: in a new folder for temporary files each time.
	base string
	// made is called for each one that was made.
	made func(dir string)

	mu  sync.Mutex
	dir folder
}

// folder is one that was made here: a path, and what was there then.
type folder struct {
	path     string
	dev, ino uint64
}

// newFolder takes note of a folder that was just made, or found. It must be this user's own, and
// nobody else may be able to put anything into it.
func newFolder(path string) (folder, error) {
	// Commands are started from elsewhere, and TMPDIR may be relative.
	path, err := filepath.Abs(path)
	if err != nil {
		return folder{}, err
	}
	var info unix.Stat_t
	if err := unix.Lstat(path, &info); err != nil {
		return folder{}, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || int(info.Uid) != os.Geteuid() {
		return folder{}, fmt.Errorf("%s is not a folder of this user: remove it", path)
	}
	if info.Mode&0o7777 != privateMode {
		if err := os.Chmod(path, privateMode); err != nil {
			return folder{}, err
		}
	}
	return folder{path: path, dev: info.Dev, ino: info.Ino}, nil
}

// intact says whether the folder is still there, and as private as it was.
func (f folder) intact() bool {
	var info unix.Stat_t
	return f.path != "" && unix.Lstat(f.path, &info) == nil &&
		info.Dev == f.dev && info.Ino == f.ino && info.Mode == unix.S_IFDIR|privateMode
}

// path is the folder, if it was made.
func (s *scratch) path() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir.path
}

// folder returns the folder, which it makes where it is missing.
func (s *scratch) folder() (string, error) {
	s.mu.Lock()
	if s.dir.intact() {
		defer s.mu.Unlock()
		return s.dir.path, nil
	}
	lost := s.dir.path
	dir, err := s.make()
	if err == nil {
		s.dir = dir
	}
	s.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("make a folder for the working directories of commands: %w", err)
	}
	if lost != "" {
		s.log.Warn("the folder for the working directories of commands was removed or changed by somebody, and is made again", "was", lost, "is", dir.path)
	}
	s.made(dir.path)
	return dir.path, nil
}

func (s *scratch) make() (folder, error) {
	var err error
	path := s.base
	if path == "" {
		path, err = os.MkdirTemp("", "rota-worker-")
	} else {
		err = os.MkdirAll(path, privateMode)
	}
	if err != nil {
		return folder{}, err
	}
	return newFolder(path)
}

// subfolder makes a new folder in it.
func (s *scratch) subfolder(pattern string) (folder, error) {
	dir, err := s.folder()
	if err != nil {
		return folder{}, err
	}
	path, err := os.MkdirTemp(dir, pattern)
	if err != nil {
		return folder{}, fmt.Errorf("make a working directory for the command: %w", err)
	}
	return newFolder(path)
}

// remove removes the folder, when the commands have ended.
func (s *scratch) remove() {
	if dir := s.path(); dir != "" {
		if err := guard.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("cannot remove the working directories of commands", "error", err)
		}
	}
}

// slotDir is the slot's working directory for a command that names none. It is made
// for the first one and kept while commands leave it as they found it: making and
// removing one costs more than looking whether it is empty.
func (r *Runner) slotDir(s *Slot) (string, error) {
	if s.dir.intact() {
		return s.dir.path, nil
	}
	dir, err := r.scratch.subfolder(fmt.Sprintf("slot%d-", s.Number))
	if err != nil {
		return "", err
	}
	s.dir = dir
	return dir.path, nil
}

// emptySlotDir makes sure that the next command finds nothing of the last one.
func (r *Runner) emptySlotDir(s *Slot) {
	if pristine(s.dir.path) {
		return
	}
	if err := guard.RemoveAll(s.dir.path); err != nil {
		r.log.Warn("cannot remove the working directory of a command, another one is used from now on", "dir", filepath.Base(s.dir.path), "error", err)
	}
	s.dir = folder{}
}

func pristine(dir string) bool {
	// By system calls: the runtime would try to poll the folder, for each command.
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer closeFiles(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil || info.Mode != unix.S_IFDIR|privateMode {
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
