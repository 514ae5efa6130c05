//go:build linux

package guard

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is what /proc tells of one.
type process struct{ pid, parent, group, session int }

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

// Places of what is read of a stat file, counted from the state, which stands behind the name.
const (
	statState   = 0
	statParent  = 1
	statGroup   = 2
	statSession = 3
	statThreads = 17
)

// parseStat reads a stat file. ok is false for a dead process.
func parseStat(pid int, stat []byte) (p process, ok bool) {
	// The name of the program, in parentheses, may contain anything.
	f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(f) <= statThreads {
		return process{}, false
	}
	var n [statThreads + 1]int
	for _, at := range []int{statParent, statGroup, statSession, statThreads} {
		v, err := strconv.Atoi(string(f[at]))
		if err != nil {
			return process{}, false
		}
		n[at] = v
	}
	// One whose first thread has ended is shown as dead while the others go on.
	if s := f[statState][0]; (s == 'Z' || s == 'X') && n[statThreads] <= 1 {
		return process{}, false
	}
	return process{pid: pid, parent: n[statParent], group: n[statGroup], session: n[statSession]}, true
}

// killTree kills all processes that descend from root, but not root, and says whether there were
// any. What they fork meanwhile is found by the next call.
func killTree(root int) (found bool) {
	return killBelow(root, func(int) bool { return true })
}

// killBelow kills the children of root that pass, with all that descends from them.
func killBelow(root int, passes func(child int) bool) (found bool) {
	children := map[int][]int{}
	eachProcess(func(p process) { children[p.parent] = append(children[p.parent], p.pid) })
	var kill func(pid int)
	kill = func(pid int) {
		found = true
		// It has just been seen; numbers are not used again before all others have been.
		_ = unix.Kill(pid, unix.SIGKILL)
		for _, c := range children[pid] {
			kill(c)
		}
	}
	for _, c := range children[root] {
		if passes(c) {
			kill(c)
		}
	}
	return found
}

// killSession kills all processes of a session, and says whether there were any.
func killSession(session int) (found bool) {
	eachProcess(func(p process) {
		if p.session == session {
			found = true
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
	})
	return found
}

// groupRuns says whether a process of the group is not dead.
func groupRuns(leader int) bool {
	found := false
	eachProcess(func(p process) { found = found || p.group == leader })
	return found
}

func groupExists(leader int) bool { return !isGone(unix.Kill(-leader, 0)) }

func isGone(err error) bool { return errors.Is(err, unix.ESRCH) }
