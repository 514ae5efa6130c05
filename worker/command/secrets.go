//go:build linux

package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rota-scheduler/rota/worker/guard"
)

// keepSecrets keeps what this process has, its environment and its memory, from the commands that
// it will run. Once for each process; see environment.go for what holds then.
var keepSecrets = sync.OnceValue(func() error {
	if err := hideEnvironment(); err != nil {
		return fmt.Errorf("hide the environment of this process from tasks: %w", err)
	}
	return guard.Seal()
})

// hideEnvironment overwrites the environment where the kernel shows it to others, in
// /proc/PID/environ. That is the memory in which this process was given it: unsetting variables
// does not change it. Go's own copy is elsewhere, and stays.
func hideEnvironment() error {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return err
	}
	start, end, err := environmentArea(stat)
	if err != nil || start == end {
		return err
	}
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) && guard.Sealed() {
		return nil // as it has been from the beginning: nobody else of this user can read it either
	} else if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	area := make([]byte, end-start)
	if _, err := io.ReadFull(io.NewSectionReader(mem, start, end-start), area); err != nil {
		return err
	}
	// Code in C has its environment there. It is given another copy, by the runtime of programs
	// that contain any.
	for _, v := range os.Environ() {
		if name, value, ok := strings.Cut(v, "="); ok && name != "" {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	_, err = mem.WriteAt(blank(area), start)
	return err
}

// environmentArea is from where to where the environment stands, as a stat file tells.
func environmentArea(stat []byte) (start, end int64, err error) {
	// Counted from the state, behind the program's name in parentheses, which may contain anything.
	const envStart, envEnd = 47, 48
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) <= envEnd {
		return 0, 0, fmt.Errorf("/proc/self/stat has %d fields", len(f))
	}
	start, err1 := strconv.ParseInt(string(f[envStart]), 10, 64)
	end, err2 := strconv.ParseInt(string(f[envEnd]), 10, 64)
	if err1 != nil || err2 != nil || end < start || end-start > maxEnvironment {
		return 0, 0, fmt.Errorf("/proc/self/stat says that the environment is from %s to %s", f[envStart], f[envEnd])
	}
	return start, end, nil
}

// maxEnvironment is more than the kernel gives a process, bytes.
const maxEnvironment = 64 << 20

// blank is an environment without what commands do not get anyway.
func blank(area []byte) []byte {
	out := make([]byte, 0, len(area))
	for len(area) > 0 {
		v, rest, _ := bytes.Cut(area, []byte{0})
		name, _, _ := bytes.Cut(v, []byte("="))
		if !isInherited(string(name)) {
			v = make([]byte, len(v))
		}
		out = append(out, v...)
		if len(out) < cap(out) {
			out = append(out, 0)
		}
		area = rest
	}
	return out
}
