//go:build linux

package command

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Nobody tells a process, or its parent, that it was killed for lack of memory. But the kernel counts such
// kills, in the control group of this worker or else on the whole machine. If the count has risen when a
// command ends by SIGKILL, lack of memory is most likely the reason.

// oomKills is how many processes the kernel has killed here for lack of memory.
type oomKills struct {
	// path is the file that counts them; "": there is none.
	path string

	mu    sync.Mutex
	count uint64
	// rose is when the count was last seen to have risen; zero: never.
	rose time.Time
}

// killsTogether is how long after a rise of the count it explains the ends of other commands, too: the
// kernel may kill several, and this worker hears of all of them before it looks.
const killsTogether = time.Second

// killFiles are the files that may count kills, the nearest first.
func killFiles() (paths []string) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err == nil {
		for line := range strings.Lines(string(groups)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				paths = append(paths, filepath.Join("/sys/fs/cgroup", path, "memory.events"))
			}
		}
	}
	return append(paths, "/proc/vmstat")
}

// begin notes how many there were before this worker.
func (k *oomKills) begin() {
	for _, path := range killFiles() {
		if n, err := readKills(path); err == nil {
			k.path, k.count = path, n
			return
		}
	}
}

// look notes a rise. It is called now and then while tasks run, because a kill in the morning explains
// nothing that happens in the evening.
func (k *oomKills) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.see(time.Now())
}

// see is look, with k.mu held.
func (k *oomKills) see(now time.Time) {
	if k.path == "" {
		return
	}
	if n, err := readKills(k.path); err == nil && n > k.count {
		k.count, k.rose = n, now
	}
}

// explain says whether the kernel has killed a process here just now.
func (k *oomKills) explain() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.see(now)
	return !k.rose.IsZero() && now.Sub(k.rose) < killsTogether
}

var errNoCount = errors.New("no count of kills")

// readKills reads the count from a file of names and numbers.
func readKills(path string) (uint64, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(content) {
		if n, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(n)), 10, 64)
		}
	}
	return 0, errNoCount
}

// killedExit is the exit code of a command that has ended by SIGKILL, and of a shell whose command has.
const killedExit = 128 + 9

// killedBy is how the error of a command begins that was ended by a signal.
const killedBy = "killed by signal "

// explainKill says of a command that was killed, and not by this worker, what is known about that.
func (r *Runner) explainKill(res *Result) {
	switch {
	case res.End != Exited || res.Exit != killedExit:
	case r.kills.explain():
		res.Err += ": the kernel has killed a process here just now for want of memory"
	case strings.HasPrefix(res.Err, killedBy):
		res.Err += "; rota did not send it, but the kernel does when no memory is left"
	}
}
