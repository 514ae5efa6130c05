package worker

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guardProcess is all of a guard.
type guardProcess struct {
	agent   int
	null    int
	scratch string
	// forked has an element when there is a child to wait for; look, when there are
	// deadlines or dying groups to look after; behind, when there is a backlog.
	forked, look, behind chan struct{}

	// backlog is what the agent has not taken yet. It is bounded by the agent's slots:
	// for each one there is one event at most before it hears of that.
	sending sync.Mutex
	backlog []byte

	// forking is held from before a fork until its child is in byLeader.
	forking sync.Mutex

	mu       sync.Mutex
	groups   map[uint64]*procGroup
	byLeader map[int]*procGroup
	// deadline is when exclusive work must be dead, on bootNow; holds is how many
	// exclusive tasks the agent itself runs.
	deadline time.Duration
	holds    int
}

// procGroup is a command with all its processes, but for those that have left its
// group. Its number is leader, the process that was started.
type procGroup struct {
	request *startRequest
	leader  int
	// byLease says that the deadline has killed it.
	byLease bool
	// exited says that leader has ended with status, and others may be dying.
	exited bool
	status syscall.WaitStatus
}

// read does what the agent says, on the main thread. When the agent is gone, it ends
// everything.
func (g *guardProcess) read() {
	var in frames
	var files []int
	buf := make([]byte, 64<<10)
	oob := make([]byte, unix.CmsgSpace(16*4))
	for {
		n, oobn, _, _, err := unix.Recvmsg(guardSocket, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			g.shutDown()
		}
		files = append(files, filesOf(oob[:oobn])...)
		in.feed(buf[:n])
		for {
			kind, body, ok, err := in.next()
			if err == nil && ok {
				err = g.handle(kind, body, &files)
			}
			if err != nil {
				// The agent is broken; ending its commands is the one safe answer.
				fmt.Fprintln(os.Stderr, err)
				g.shutDown()
			}
			if !ok {
				break
			}
		}
	}
}

func filesOf(oob []byte) (files []int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range messages {
		if fds, err := unix.ParseUnixRights(&messages[i]); err == nil {
			files = append(files, fds...)
		}
	}
	return files
}

func (g *guardProcess) handle(kind byte, body []byte, files *[]int) error {
	if kind == frameStart {
		r, err := parseStart(body, files)
		if err == nil {
			g.start(r)
		}
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	f := fields{rest: body}
	switch kind {
	case frameSignal:
		id, sig := f.number(), unix.Signal(f.number())
		if p := g.groups[id]; p != nil {
			p.kill(sig)
		}
	case frameLease:
		g.deadline = time.Duration(f.number())
	case frameHold:
		g.holds++
		notify(g.look)
	case frameRelease:
		g.holds--
	default:
		return errFrame
	}
	if f.failed {
		return errFrame
	}
	return nil
}

// kill signals the group. The caller has the lock, under which leaders are reaped,
// so the number is not another's: the leader runs, or is dead and not reaped.
func (p *procGroup) kill(sig unix.Signal) {
	if p.exited {
		// All that was left got SIGKILL then, which reaches also what is just forked.
		return
	}
	_ = unix.Kill(-p.leader, sig)
}

// tell sends an event to the agent, without ever waiting for it: an agent that is
// paused must not hold up the deadlines.
func (g *guardProcess) tell(event []byte) {
	g.sending.Lock()
	defer g.sending.Unlock()
	if len(g.backlog) == 0 {
		n, err := unix.SendmsgN(guardSocket, event, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil && n == len(event) {
			return
		}
		event = event[max(n, 0):]
	}
	g.backlog = append(g.backlog, event...)
	notify(g.behind)
}

// flush sends what the agent could not take at once.
func (g *guardProcess) flush() {
	for range g.behind {
		g.sending.Lock()
		for len(g.backlog) > 0 {
			b := g.backlog
			// Events that come meanwhile go behind, since there is a backlog.
			g.sending.Unlock()
			n, err := unix.SendmsgN(guardSocket, b, nil, nil, unix.MSG_NOSIGNAL)
			g.sending.Lock()
			if err != nil && !errors.Is(err, unix.EINTR) {
				// The agent is gone, as the reader will see.
				n = len(g.backlog)
			}
			g.backlog = g.backlog[max(n, 0):]
		}
		g.backlog = nil
		g.sending.Unlock()
	}
}

// start starts one command.
func (g *guardProcess) start(r *startRequest) {
	g.forking.Lock()
	pid, err := g.fork(r)
	if err == nil {
		p := &procGroup{request: r, leader: pid}
		g.mu.Lock()
		g.groups[r.id], g.byLeader[pid] = p, p
		g.mu.Unlock()
	}
	g.forking.Unlock()
	closeFiles(r.files()...)
	if err != nil {
		g.tell(frame(frameFailed, r.id, uint64(errnoOf(err))))
		return
	}
	notify(g.forked)
	if r.exclusive {
		notify(g.look)
	}
}

func (g *guardProcess) fork(r *startRequest) (int, error) {
	if r.exclusive {
		g.mu.Lock()
		refused := bootNow() >= g.deadline
		g.mu.Unlock()
		if refused {
			return 0, unix.ECANCELED
		}
	}
	stdin := g.null
	if r.stdin >= 0 {
		stdin = r.stdin
	}
	return syscall.ForkExec(r.path, r.argv, &syscall.ProcAttr{
		Dir: r.dir, Env: r.env,
		Files: []uintptr{uintptr(stdin), uintptr(r.stdout), uintptr(r.stderr)},
		// The signal is for the day on which the guard itself is killed.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
}

func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EINVAL
}

// reap waits for children, whichever ends.
func (g *guardProcess) reap() {
	for {
		pid, err := waitAny()
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			<-g.forked
		default:
			g.ended(pid)
		}
	}
}

// childInfo is the kernel's siginfo_t as waitid fills it in, on 64-bit systems.
type childInfo struct {
	_   [4]int32
	pid int32
	_   [108]byte
}

// waitAny waits for a child to end and returns its number without reaping it: until
// it is reaped, neither its number nor that of its group can become another's.
func waitAny() (int, error) {
	var info childInfo
	err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOWAIT, nil)
	return int(info.pid), err
}

// ended is called for a child that has ended and is not reaped.
func (g *guardProcess) ended(pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.byLeader[pid]
	if p == nil {
		// Either it has ended so quickly that its start is not noted yet...
		g.mu.Unlock()
		g.forking.Lock()
		g.mu.Lock()
		g.forking.Unlock()
		p = g.byLeader[pid]
	}
	if p != nil {
		// What it leaves behind is killed while its number is still its own.
		p.kill(unix.SIGKILL)
	}
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if p == nil {
		// ... or it is an orphan, perhaps the last one of a group.
		g.bury(false)
		return
	}
	p.exited, p.status = true, status
	delete(g.byLeader, pid)
	g.buryOne(p, false)
	if g.groups[p.request.id] != nil {
		notify(g.look)
	}
}

// bury tells the agent of groups of which nothing lives any more.
func (g *guardProcess) bury(thorough bool) {
	for _, p := range g.groups {
		if p.exited {
			g.buryOne(p, thorough)
		}
	}
}

func (g *guardProcess) buryOne(p *procGroup, thorough bool) {
	if groupExists(p.leader) && (!thorough || groupRuns(p.leader)) {
		return
	}
	delete(g.groups, p.request.id)
	byLease := uint64(0)
	if p.byLease {
		byLease = 1
	}
	g.tell(frame(frameEnded, p.request.id, uint64(p.status), byLease))
}

func groupExists(leader int) bool { return !errors.Is(unix.Kill(-leader, 0), unix.ESRCH) }
