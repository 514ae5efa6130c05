package worker

import (
	"bytes"
	"os"
	"strconv"
)

// process is what /proc tells of one.
type process struct{ pid, group, session int }

// eachProcess calls f for every process that is not dead. Where /proc cannot be
// read there are none: then no more can be done for them than has been done.
func eachProcess(f func(process)) {
	dir, err := os.Open("/proc")
	if err != nil {
		return
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		// It may end while it is looked at.
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		if p, ok := parseStat(pid, stat); ok {
			f(p)
		}
	}
}

// parseStat reads a stat file. ok is false for a dead process.
func parseStat(pid int, stat []byte) (p process, ok bool) {
	// The name of the program, in parentheses, may contain anything. Behind it stand
	// state, parent, group and session.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) < 4 || f[0][0] == 'Z' || f[0][0] == 'X' {
		return process{}, false
	}
	group, err1 := strconv.Atoi(string(f[2]))
	session, err2 := strconv.Atoi(string(f[3]))
	return process{pid, group, session}, err1 == nil && err2 == nil
}
