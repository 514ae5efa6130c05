//go:build linux

package guard

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How guard and keepers keep the deadline of exclusive work, and end what has to end.

const (
	// secondLine is how long after a deadline the guard kills a keeper that has not kept it. The
	// lease ends a fifth of its length behind the deadline.
	secondLine = 150 * time.Millisecond
	// enforceTick is how often deadlines are checked while there is exclusive work.
	// A timer to the deadline would stand still while the machine is suspended.
	enforceTick = 50 * time.Millisecond
	// dyingTick is how often to check what has to end. Most ends are noticed as they happen.
	dyingTick = 5 * time.Millisecond
	// manyLooks is after how many looks in a row something that was killed counts as stubborn: it
	// hangs in the kernel, as on a file system that does not answer, or has become another user's.
	// From then on it is looked at every stubbornTick, since a look goes through all processes.
	manyLooks    = 200
	stubbornTick = 250 * time.Millisecond
	// thoroughEvery is every how many looks processes are searched one by one: a
	// group may last as a dead process that a parent outside of it does not reap.
	thoroughEvery = 20
	// sureLooks is how many looks in a row must find no orphan: a process that is forked during
	// a look, by one that ends during it, may escape that one.
	sureLooks = 2
)

// dyingPause is the wait before the next look at what is to end, after so many in a row. That it
// has ended is heard of between the looks.
func dyingPause(looks int) time.Duration {
	if looks < manyLooks {
		return dyingTick
	}
	return stubbornTick
}

// left is how long exclusive work may live on, where it must be dead at deadline.
func left(deadline time.Duration) time.Duration { return deadline - BootNow() }

// enforce kills what has to end, and sees to what is dying.
func (k *keeper) enforce() {
	dying := 0
	for looks := 0; ; looks++ {
		wait, sweep := k.lookAfter(looks%thoroughEvery == thoroughEvery-1)
		if sweep != nil {
			k.sweep(sweep)
		}
		if wait == dyingTick {
			wait = dyingPause(dying)
			dying++
		} else {
			dying = 0
		}
		switch wait {
		case 0:
			<-k.look
			looks = 0
		default:
			time.Sleep(wait)
		}
	}
}

// lookAfter does it once. It says how long to wait, 0: until there is more to do, and which
// command, with all that descends from it, is to be killed.
func (k *keeper) lookAfter(thorough bool) (wait time.Duration, sweep *command) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bury(thorough)
	c := k.command
	if c == nil {
		return 0, nil
	}
	rest := left(k.deadline)
	if !c.exited && c.request.Exclusive && rest <= 0 {
		// Also when it was signalled before: nothing may be left to chance here.
		c.byLease, c.killed = true, true
	}
	switch {
	case c.killed, c.exited && c.whole():
		c.signal(unix.SIGKILL)
		return dyingTick, c
	case c.exited:
		return dyingTick, nil
	case c.request.Exclusive:
		return min(rest, enforceTick), nil
	}
	return 0, nil
}

// sweep kills all that has ever come of a command. It is the keeper's only one: what descends
// from the keeper descends from it.
func (k *keeper) sweep(c *command) {
	k.forking.Lock()
	defer k.forking.Unlock()
	k.mu.Lock()
	still := k.command == c
	k.mu.Unlock()
	if still {
		killTree(os.Getpid())
	}
}

// enforce keeps deadlines that keepers and agent have not kept, and ends what killed keepers
// have left.
func (g *supervisor) enforce() {
	sweeps, last := 0, time.Duration(0)
	for {
		wait, orphans := g.lookAfter()
		switch {
		case !orphans:
			sweeps = 0
		case BootNow()-last >= dyingPause(sweeps):
			g.sweep()
			sweeps, last = sweeps+1, BootNow()
		}
		if wait == 0 {
			<-g.look
		} else {
			time.Sleep(wait)
		}
	}
}

// lookAfter does it once. It says how long to wait, 0: until there is more to do, and whether
// orphans are to be looked for.
func (g *supervisor) lookAfter() (wait time.Duration, orphans bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := left(g.deadline)
	for _, w := range g.keepers {
		switch {
		case !w.exclusive:
		case rest <= -secondLine:
			_ = unix.Kill(w.pid, unix.SIGKILL)
			wait = dyingTick
		default:
			wait = min(rest+secondLine, enforceTick)
		}
	}
	if g.holds > 0 {
		// The agent is this process's parent as long as it lives; its number cannot be
		// another's before it is seen to be gone.
		if rest <= 0 && os.Getppid() == g.agent {
			_ = unix.Kill(g.agent, unix.SIGKILL)
		}
		if wait == 0 {
			wait = min(max(rest, dyingTick), enforceTick)
		}
	}
	if len(g.dead) > 0 {
		wait, orphans = dyingTick, true
	}
	return wait, orphans
}

// sweep kills what killed keepers have left, once, and tells the agent of keepers of which
// nothing is left.
func (g *supervisor) sweep() {
	g.forking.Lock()
	defer g.forking.Unlock()
	g.mu.Lock()
	dead := len(g.dead)
	keepers := make([]int, 0, len(g.keepers))
	for pid := range g.keepers {
		keepers = append(keepers, pid)
	}
	g.mu.Unlock()
	found := killBelow(os.Getpid(), func(child int) bool { return !slices.Contains(keepers, child) })
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.dead) != dead || found {
		g.quiet = 0
		return
	}
	if g.quiet++; g.quiet < sureLooks {
		return
	}
	for _, w := range g.dead {
		g.tell(numberFrame(frameGone, w.id, 0))
	}
	g.dead = nil
}
