//go:build linux

package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// keeper is the state of a keeper, the process that starts commands, one at a time. It outlives each
// command until everything that has to end with that command has ended.
type keeper struct {
	socket
	null int
	exit func(code int)
	// forked has an element when there is a child to wait for; look, when there is something
	// to look after.
	forked, look chan struct{}

	// forking is held from before a fork until its child is the command's, and while processes
	// are killed by what they descend from.
	forking sync.Mutex

	mu sync.Mutex
	// command is the one that runs, or that has ended and was not reported; nil: none.
	command *command
	// deadline is when exclusive work must be dead, on BootNow.
	deadline time.Duration
	// retired: there are no more commands to come.
	retired bool
}

// command is a program with all that it has started. leader is the process that was started,
// and the number of its group.
type command struct {
	request *Request
	leader  int
	// stopped says that it was asked to end, killed, that it must, and byLease, that this
	// is because the deadline has passed.
	stopped, killed, byLease bool
	// exited says that leader has ended with status, and others may be dying.
	exited bool
	status syscall.WaitStatus
	// used is what the leader has, with the processes that it has waited for.
	used syscall.Rusage
}

// whole says that processes that have left the command's group end with the command: the next command
// must not overlap with them, or somebody wants them to stop.
func (c *command) whole() bool { return c.request.Exclusive || c.stopped }

func runKeeper(null int) int {
	k := &keeper{
		socket: newSocket(), null: null, exit: os.Exit,
		forked: make(chan struct{}, 1), look: make(chan struct{}, 1),
	}
	k.tell(numberFrame(frameUp, uint64(os.Getpid())))
	go k.reap()
	go k.enforce()
	if err := k.receive(k.handle); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	k.shutDown()
	return 0
}

func (k *keeper) handle(kind byte, f fields, files *[]int) error {
	if kind == frameStart {
		r, err := parseStart(f.rest, files)
		if err == nil {
			err = k.start(r)
		}
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch kind {
	case frameSignal:
		id, sig := f.number(), unix.Signal(f.number())
		if c := k.command; c != nil && c.request.ID == id {
			c.stopped = true
			c.killed = c.killed || sig == unix.SIGKILL
			c.signal(sig)
			notify(k.look)
		}
	case frameLease:
		k.deadline = time.Duration(f.number())
	case frameRetire:
		k.retired = true
		k.leave()
	case framePing:
		k.tell(numberFrame(framePong))
	default:
		return errFrame
	}
	if f.failed {
		return errFrame
	}
	return nil
}

// signal signals the group. The caller has the lock, under which leaders are reaped,
// so the number is not another's: the leader runs, or is dead and not reaped.
func (c *command) signal(sig unix.Signal) {
	if c.exited {
		// All that was left got SIGKILL then, which reaches also what is just forked.
		return
	}
	_ = unix.Kill(-c.leader, sig)
}

// start starts a command.
func (k *keeper) start(r *Request) error {
	k.forking.Lock()
	k.mu.Lock()
	busy := k.command != nil || k.retired
	refused := r.Exclusive && left(k.deadline) <= 0
	k.mu.Unlock()
	pid, err := 0, error(unix.ECANCELED)
	if !busy && !refused {
		pid, err = k.fork(r)
	}
	if err == nil {
		k.mu.Lock()
		k.command = &command{request: r, leader: pid}
		k.mu.Unlock()
	}
	k.forking.Unlock()
	closeFiles(r.files()...)
	if busy {
		return errFrame
	}
	if err != nil {
		k.tell(numberFrame(frameFailed, r.ID, uint64(errnoOf(err))))
		return nil
	}
	notify(k.forked)
	if r.Exclusive {
		notify(k.look)
	}
	return nil
}

func (k *keeper) fork(r *Request) (int, error) {
	stdin := k.null
	if r.Stdin >= 0 {
		stdin = r.Stdin
	}
	attr := &syscall.ProcAttr{
		Dir: r.Dir, Env: r.Env,
		Files: []uintptr{uintptr(stdin), uintptr(r.Stdout), uintptr(r.Stderr)},
		// The signal is for the day on which the keeper itself is killed.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	pid, err := syscall.ForkExec(r.Path, r.Argv, attr)
	if errors.Is(err, unix.ENOEXEC) && isText(r) {
		// As execvp does, and so env, xargs and shells.
		return syscall.ForkExec(shell, append([]string{shell, r.Path}, r.Argv[1:]...), attr)
	}
	return pid, err
}

// shell runs programs that are text and do not say what is to run them.
const shell = "/bin/sh"

// isText says whether a program may be a script: no NUL byte stands in its first line, as far as that
// is looked at. A program of another machine is none, though execvp would try.
func isText(r *Request) bool {
	const looked = 256
	path := r.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Dir, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, looked)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	return bytes.IndexByte(line, 0) < 0
}

func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EINVAL
}

// reap waits for children, whichever ends.
func (k *keeper) reap() {
	for {
		pid, _, err := waitAny(0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			k.mu.Lock()
			k.leave()
			k.mu.Unlock()
			<-k.forked
		default:
			k.ended(pid)
		}
	}
}

// ended is called for a child that has ended and is not reaped.
func (k *keeper) ended(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.command
	if c == nil || c.leader != pid {
		// Either it has ended so quickly that its start is not noted yet...
		k.mu.Unlock()
		k.forking.Lock()
		k.mu.Lock()
		k.forking.Unlock()
		c = k.command
	}
	mine := c != nil && c.leader == pid && !c.exited
	if mine {
		// What it leaves behind is killed while its number is still its own.
		c.signal(unix.SIGKILL)
	}
	status, used := reapOne(pid)
	if mine {
		c.exited, c.status, c.used = true, status, used
	}
	// ... or it is an orphan, perhaps the last one of a command.
	k.bury(false)
	if k.command != nil {
		notify(k.look)
	}
}

// bury tells the agent that a command, and everything that has to end with it, has ended.
func (k *keeper) bury(thorough bool) {
	c := k.command
	if c == nil || !c.exited {
		return
	}
	leaves := hasChildren()
	switch {
	case !leaves:
	case c.whole():
		return
	case groupExists(c.leader) && (!thorough || groupRuns(c.leader)):
		return
	}
	k.command = nil
	k.tell(numberFrame(frameEnded, c.request.ID, uint64(c.status), flag(c.byLease), flag(leaves), uint64(max(0, c.used.Maxrss)), microseconds(c.used.Utime)+microseconds(c.used.Stime)))
}

func microseconds(t syscall.Timeval) uint64 { return uint64(max(0, t.Nano()/1000)) }

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// leave ends a retired keeper of whose commands nothing is left. The caller has the lock.
func (k *keeper) leave() {
	if k.retired && k.command == nil && !hasChildren() {
		k.exit(0)
	}
}

// shutDown ends the command that runs, and everything that came of it, when the agent is gone. What
// earlier commands have left running goes on.
func (k *keeper) shutDown() {
	for {
		k.mu.Lock()
		c := k.command
		if c != nil {
			c.stopped, c.killed = true, true
			c.signal(unix.SIGKILL)
		}
		k.mu.Unlock()
		if c == nil {
			return
		}
		notify(k.look)
		time.Sleep(dyingTick)
	}
}
