//go:build linux

package command

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
)

// stdoutMode is what others may do with a file that a command's standard output goes to: as shells
// make theirs, but for the umask.
const stdoutMode = 0o644

// openStdout opens what a command's standard output goes to, in its folder dir; -1: the agent reads
// it. What goes to a file is the command's own business: the agent copies nothing.
func openStdout(t *Task, dir string) (int, error) {
	c := t.Work.Spec
	switch c.Stdout {
	case task.StdoutDiscard:
		return openFile("/dev/null", unix.O_WRONLY)
	case task.StdoutFile:
		path, err := task.FillStdoutPath(c.StdoutPath, t.named)
		if err != nil {
			return -1, err
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return openFile(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	}
	return -1, nil
}

// openFile opens a file for a command. A named pipe that nobody reads is an error: a slot must not
// wait for a reader, because nothing could end that wait.
func openFile(path string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, stdoutMode)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return -1, &openError{path, err}
	}
	// Programs do not expect theirs to be non-blocking.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0); err != nil {
		closeFiles(fd)
		return -1, &openError{path, err}
	}
	return fd, nil
}

// openError is why a file for a standard output cannot be opened.
type openError struct {
	path string
	err  error
}

func (e *openError) Error() string {
	return "open " + strconv.Quote(e.path) + " for the standard output: " + e.err.Error()
}

func (e *openError) Unwrap() error { return e.err }
