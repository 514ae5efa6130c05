package worker

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// enforceTick is how often deadlines are looked at while there is exclusive work.
	// A timer to the deadline would stand still while the machine is suspended.
	enforceTick = 50 * time.Millisecond
	// dyingTick is how often groups whose leader has ended are looked at. Most of
	// their ends are noticed as they happen.
	dyingTick = 5 * time.Millisecond
	// thoroughEvery is every how many looks processes are searched one by one: a
	// group may last as a dead process that a parent outside of it does not reap.
	thoroughEvery = 20
)

// enforce kills exclusive work at its deadline, and sees to dying groups.
func (g *guardProcess) enforce() {
	for looks := 0; ; looks++ {
		switch wait := g.lookAfter(looks%thoroughEvery == thoroughEvery-1); wait {
		case 0:
			<-g.look
			looks = 0
		default:
			time.Sleep(wait)
		}
	}
}

// lookAfter does it once, and says how long to wait; 0: until there is more to do.
func (g *guardProcess) lookAfter(thorough bool) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bury(thorough)
	wait := time.Duration(0)
	left := g.deadline - bootNow()
	for _, p := range g.groups {
		switch {
		case p.exited:
			wait = dyingTick
		case p.request.exclusive && left <= 0:
			// Also when it was signalled before: nothing may be left to chance here.
			p.byLease = true
			p.kill(unix.SIGKILL)
			wait = dyingTick
		case p.request.exclusive && wait == 0:
			wait = min(left, enforceTick)
		}
	}
	if g.holds > 0 {
		// The agent is this process's parent as long as it lives; its number cannot be
		// another's before it is seen to be gone.
		if left <= 0 && os.Getppid() == g.agent {
			_ = unix.Kill(g.agent, unix.SIGKILL)
		}
		if wait == 0 {
			wait = min(max(left, dyingTick), enforceTick)
		}
	}
	return wait
}

// shutDown kills everything that the agent had started, waits for its end, and ends
// the guard. It does not return. The lock of the data folder ends with the guard:
// who gets it next knows that nothing is left.
func (g *guardProcess) shutDown() {
	g.killAll()
	for {
		g.mu.Lock()
		live := len(g.groups)
		g.mu.Unlock()
		if live == 0 {
			break
		}
		notify(g.look)
		time.Sleep(dyingTick)
	}
	if g.scratch != "" {
		_ = removeAll(g.scratch)
	}
	os.Exit(0)
}

func (g *guardProcess) killAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.groups {
		p.kill(unix.SIGKILL)
	}
}

// groupRuns says whether a process of the group is not dead.
func groupRuns(leader int) bool {
	found := false
	eachProcess(func(p process) { found = found || p.group == leader })
	return found
}
