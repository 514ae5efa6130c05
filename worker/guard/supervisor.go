//go:build linux

package guard

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeperPatience is how long keepers may take to end their commands when the agent is gone.
const keeperPatience = 5 * time.Second

// supervisor is the state of a guard, the parent of the keepers. It inherits the processes of keepers
// that are killed.
type supervisor struct {
	socket
	agent, null int
	look        chan struct{}
	forked      chan struct{}

	// forking is held from before a fork until its child is a keeper, and while orphans are
	// looked for, which a new keeper would be taken for.
	forking sync.Mutex

	mu      sync.Mutex
	keepers map[int]*ward
	// dead is keepers that were killed, whose orphans are not known to be dead; quiet is how many
	// looks in a row have found none.
	dead  []*ward
	quiet int
	// deadline is when exclusive work must be dead, on BootNow; holds is how many
	// exclusive tasks the agent itself runs.
	deadline time.Duration
	holds    int
	scratch  []string
}

// ward is a keeper as its guard knows it.
type ward struct {
	id  uint64
	pid int
	// exclusive says that it runs an exclusive command.
	exclusive bool
}

// guardCommand is a guard that is not started yet. Its file 3 must be its end of a socket to the
// agent, and 4 the lock of the data folder, or /dev/null.
func guardCommand(files ...*os.File) *exec.Cmd {
	return &exec.Cmd{
		// Not the name it was started by: the file may have been replaced by a newer
		// one, which would speak another language.
		Path: self,
		Args: []string{"rota-guard"},
		Env:  bareEnv(roleGuard),
		Dir:  "/", Stderr: os.Stderr,
		ExtraFiles: files,
		// A session of its own: what is typed at the agent's terminal is not for it. And when the
		// agent ends, it goes on where it was stopped, and sees that.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGCONT},
	}
}

// self is the binary of this process.
const self = "/proc/self/exe"

// Probe returns the path, arguments and environment of a program that does nothing, and that every
// keeper can start: its own.
func Probe() (path string, argv, env []string) {
	return self, []string{"rota-probe"}, bareEnv(roleProbe)
}

func runGuard(null int) int {
	g := &supervisor{
		socket: newSocket(),
		agent:  os.Getppid(), null: null, keepers: map[int]*ward{},
		look: make(chan struct{}, 1), forked: make(chan struct{}, 1),
	}
	go g.reap()
	go g.enforce()
	if err := g.receive(g.handle); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	g.shutDown()
	return 0
}

func (g *supervisor) handle(kind byte, f fields, files *[]int) error {
	if kind == frameKeeper {
		id := f.number()
		if f.failed || len(*files) == 0 {
			return errFrame
		}
		file := (*files)[0]
		*files = (*files)[1:]
		g.start(id, file)
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch kind {
	case frameExclusive:
		id, on := f.number(), f.number() == 1
		for _, w := range g.keepers {
			if w.id == id {
				w.exclusive = on
			}
		}
		notify(g.look)
	case frameLease:
		g.deadline = time.Duration(f.number())
	case frameHold:
		g.holds++
		notify(g.look)
	case frameRelease:
		g.holds--
	case frameScratch:
		g.scratch = append(g.scratch, f.text())
	case framePing:
		g.tell(numberFrame(framePong))
	default:
		return errFrame
	}
	if f.failed {
		return errFrame
	}
	return nil
}

// start starts a keeper with a socket to the agent.
func (g *supervisor) start(id uint64, file int) {
	g.forking.Lock()
	defer g.forking.Unlock()
	defer closeFiles(file)
	pid, err := syscall.ForkExec(self, []string{"rota-keeper"}, &syscall.ProcAttr{
		Env: bareEnv(roleKeeper),
		// It holds the lock of the data folder too: who gets that next knows that nothing
		// is left, also where this guard is killed and its keepers go on.
		Files: []uintptr{uintptr(g.null), 2, 2, uintptr(file), lockFile},
		// A session of its own, which is that of its commands: should this process and the
		// keeper be killed together, the agent knows them by it.
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGCONT},
	})
	if err != nil {
		g.tell(numberFrame(frameGone, id, uint64(errnoOf(err))))
		return
	}
	g.mu.Lock()
	g.keepers[pid] = &ward{id: id, pid: pid}
	g.mu.Unlock()
	notify(g.forked)
}

// reap waits for children that end, and for keepers that are stopped.
func (g *supervisor) reap() {
	for {
		pid, code, err := waitAny(unix.WSTOPPED)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			<-g.forked
		case code == cldStopped:
			g.resume(pid)
		default:
			g.ended(pid)
		}
	}
}

// resume lets a child go on that was stopped. Nobody but a command can have stopped a keeper.
func (g *supervisor) resume(pid int) {
	// It is taken note of, or it would be told again and again.
	_ = unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOHANG, nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keepers[pid] != nil {
		_ = unix.Kill(pid, unix.SIGCONT)
	}
}

// ended is called for a child that has ended and is not reaped.
func (g *supervisor) ended(pid int) {
	// Its start may not be noted yet.
	g.forking.Lock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forking.Unlock()
	status, _ := reapOne(pid)
	w := g.keepers[pid]
	if w == nil {
		return // an orphan
	}
	delete(g.keepers, pid)
	if status.Exited() && status.ExitStatus() == 0 {
		// Nothing lives of what it had to take along.
		g.tell(numberFrame(frameGone, w.id, 0))
		return
	}
	g.dead, g.quiet = append(g.dead, w), 0
	notify(g.look)
}

// shutDown waits, when the agent is gone, until the keepers have ended what they run, and kills
// keepers that do not. The lock of the data folder ends with the last of them: whoever gets it next
// knows that nothing is left.
func (g *supervisor) shutDown() {
	for waited := time.Duration(0); ; waited += dyingTick {
		g.mu.Lock()
		live := len(g.keepers) + len(g.dead)
		if waited >= keeperPatience {
			for pid := range g.keepers {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		g.mu.Unlock()
		if live == 0 {
			break
		}
		notify(g.look)
		time.Sleep(dyingTick)
	}
	for _, dir := range g.scratch {
		_ = RemoveAll(dir)
	}
}
