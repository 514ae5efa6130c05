package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Why the guard starts the commands, and not the agent.
//
// The guard must know a process group before the first instruction of its first
// process, or an agent that is killed at the wrong moment, or paused for a minute
// and then killed, leaves processes that nobody knows. When the agent forks, it
// learns the group's number only when the process runs already. What could close
// that window has a price:
//
//   - PR_SET_PDEATHSIG reaches the direct child only, not what it has forked.
//   - A child that waits for a byte before it executes the command is another
//     program to load; this binary alone takes milliseconds.
//   - A child that is traced until it is registered loses the rights of setuid
//     programs, and tracing is often forbidden.
//   - A group made in advance, with a placeholder for its leader, is left by every
//     program that makes itself a leader, such as timeout(1).
//
// As the parent, the guard knows the group from the fork on, reaps it, and sees the
// end of everything in it. The price is a message each way, about 0.1 ms of CPU where
// starting and ending the smallest program takes 1 ms (BenchmarkCommands and
// BenchmarkDirectCommands). If the guard is killed, the direct children
// die with it (PR_SET_PDEATHSIG), and the agent kills the rest: all that the guard has
// started is in the guard's session.

const (
	// guardWriteTimeout is how long the guard may leave messages unread once the
	// socket is full of them. Between two reads it does no more than start a program.
	guardWriteTimeout = 2 * time.Second
	// drainTimeout is how long output is waited for once a command's processes have
	// ended: what holds it open then has left the group.
	drainTimeout = 500 * time.Millisecond
)

// errGuardLost: the guard ended before the agent. Its commands have ended as well.
var errGuardLost = errors.New("the guard process has ended")

// guard is one guard process, as the agent sees it.
type guard struct {
	cmd  *exec.Cmd
	conn *net.UnixConn

	writing sync.Mutex

	// told says that it was told to end.
	told atomic.Bool
	// since is when it was started, on monoNow.
	since time.Duration

	mu    sync.Mutex
	procs map[uint64]*proc
	last  uint64
	gone  bool
}

// proc is one command, as the agent sees it.
type proc struct {
	guard *guard
	id    uint64
	// done is closed when it has ended with its whole group, or did not start; the
	// fields below are set then.
	done   chan struct{}
	ending ending
	err    error
}

func startGuard(scratch string, lock *os.File) (*guard, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket to the guard: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "guard"), os.NewFile(uintptr(fds[1]), "agent")
	defer func() { _ = ours.Close() }()
	defer func() { _ = theirs.Close() }()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("make a socket to the guard: %w", err)
	}
	cmd := &exec.Cmd{
		// Not the name it was started by: the file may have been replaced by a newer
		// one, which would speak another language.
		Path: "/proc/self/exe",
		Args: []string{"rota-guard", scratch},
		Env:  append(os.Environ(), guardEnv+"=1"),
		Dir:  "/", Stderr: os.Stderr,
		ExtraFiles: []*os.File{theirs},
		// A session of its own: what is typed at the agent's terminal is not for it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if lock != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, lock)
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the guard process: %w", err)
	}
	return &guard{cmd: cmd, conn: conn.(*net.UnixConn), procs: map[uint64]*proc{}, since: monoNow()}, nil
}

func (g *guard) send(b []byte, files []int) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	_ = g.conn.SetWriteDeadline(time.Now().Add(guardWriteTimeout))
	n, _, err := g.conn.WriteMsgUnix(b, oob, nil)
	if err == nil && n < len(b) {
		_, err = g.conn.Write(b[n:])
	}
	if err != nil {
		// A guard that got half a message is of no use any more. The reader sees it end.
		_ = g.cmd.Process.Kill()
		return fmt.Errorf("%w: %w", errGuardLost, err)
	}
	return nil
}

func (g *guard) run(r *startRequest, p *proc) error {
	p.guard, p.done = g, make(chan struct{})
	g.mu.Lock()
	if g.gone {
		g.mu.Unlock()
		return errGuardLost
	}
	g.last++
	r.id, p.id = g.last, g.last
	g.procs[p.id] = p
	g.mu.Unlock()
	if err := g.send(r.frame(), r.files()); err != nil {
		g.mu.Lock()
		delete(g.procs, p.id)
		g.mu.Unlock()
		return err
	}
	return nil
}

// signal signals a command's group, if it has not ended.
func (p *proc) signal(signals ...unix.Signal) {
	var b []byte
	for _, s := range signals {
		b = append(b, frame(frameSignal, p.id, uint64(s))...)
	}
	// If the guard is gone, the command is as well.
	_ = p.guard.send(b, nil)
}

// read takes what the guard says until it has ended.
func (g *guard) read() {
	var in frames
	buf := make([]byte, 16<<10)
	for {
		n, err := g.conn.Read(buf)
		if err != nil {
			break
		}
		in.feed(buf[:n])
		for err == nil {
			var kind byte
			var body []byte
			var ok bool
			if kind, body, ok, err = in.next(); !ok {
				break
			}
			g.handle(kind, fields{rest: body})
		}
		if err != nil {
			break
		}
	}
	g.end()
}

func (g *guard) handle(kind byte, f fields) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.procs[f.number()]
	if p == nil {
		return
	}
	switch kind {
	case frameFailed:
		p.err = unix.Errno(f.number())
	case frameEnded:
		p.ending = ending{status: syscall.WaitStatus(f.number()), byLease: f.number() == 1}
	}
	delete(g.procs, p.id)
	close(p.done)
}

// wait reaps the guard. Closing the connection has told it to end.
func (g *guard) wait() { _ = g.cmd.Wait() }

// end waits for the end of a guard, and of its commands: a slot must not be free
// while its command runs. A guard that was told to end sees to that itself. One that
// was killed cannot, but all that it has started is in its session.
func (g *guard) end() {
	told := g.told.Load()
	_ = g.conn.Close()
	if !told {
		_ = g.cmd.Process.Kill()
		for g.killSession() {
			time.Sleep(dyingTick)
		}
	}
	g.wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
	for id, p := range g.procs {
		p.err = errGuardLost
		delete(g.procs, id)
		close(p.done)
	}
}

// killSession kills what runs in the guard's session, and says whether there was
// anything. The guard is not reaped, so its number is not another's.
func (g *guard) killSession() (found bool) {
	guard := g.cmd.Process.Pid
	eachProcess(func(p process) {
		if p.session == guard {
			found = true
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
	})
	return found
}
