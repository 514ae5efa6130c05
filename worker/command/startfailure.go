//go:build linux

package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/worker/guard"
)

// startFailure explains why a command did not start. fresh: its folder is the attempt's own. A program
// that is being written, or a folder that others may have, passes; a program that is not there, or is
// none, stays so.
func startFailure(r *guard.Request, fresh bool, err error) Result {
	switch info, statErr := os.Stat(r.Dir); {
	case statErr != nil:
		return Result{End: Failed, Err: fmt.Sprintf("the working directory %q is not there on this worker", r.Dir)}
	case !info.IsDir():
		return Result{End: Failed, Err: fmt.Sprintf("the working directory %q is a file on this worker, not a folder", r.Dir)}
	}
	end := FailedForGood
	if errors.Is(err, unix.ETXTBSY) {
		end = Failed
	}
	return Result{End: end, Err: fmt.Sprintf("start %q: %v%s", r.Path, err, startAdvice(r, fresh, err))}
}

// startAdvice says what to do about a command that did not start; "" where the error says it all.
func startAdvice(r *guard.Request, fresh bool, err error) string {
	switch {
	case errors.Is(err, unix.E2BIG):
		return ": pass it on standard input"
	case !errors.Is(err, unix.ENOENT):
		return ""
	}
	path := r.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Dir, path)
	}
	switch interpreter, found := interpreterOf(path); {
	case !found && fresh && path != r.Path:
		return ": each attempt has an empty folder of its own unless --cwd names one"
	case !found:
		return ""
	case interpreter == "":
		return ": the file is there, but not what is to load it"
	default:
		return fmt.Sprintf(": the interpreter that its first line names, %q, is not there", interpreter)
	}
}

// interpreterOf is what the first line of a script names; "" where the file is none.
func interpreterOf(path string) (interpreter string, found bool) {
	// longest is how much of a first line the kernel looks at.
	const longest = 256
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	f, err := os.Open(path)
	if err != nil {
		// It may be run without being read.
		return "", true
	}
	defer func() { _ = f.Close() }()
	head, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return "", true
	}
	line, isScript := bytes.CutPrefix(head, []byte("#!"))
	if !isScript {
		return "", true
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	name, _, _ := bytes.Cut(bytes.TrimLeft(line, " \t"), []byte(" "))
	return string(name), true
}
