package worker

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

// errKeeperLost: the process that started a command has ended before the command, which has
// been killed.
var errKeeperLost = errors.New("the process that watches over the command has ended before it, which only somebody on this machine can bring about")

// errNotStarted: a command was certainly not started.
var errNotStarted = errors.New("the command was not started")

// keeper is one keeper, as the agent sees it.
type keeper struct {
	guard *guardProcess
	id    uint64
	peer
	// gone is closed by the guard: nothing is left of it, or it did not start, which whyNot
	// explains then.
	gone   chan struct{}
	whyNot error
	// put is called when it is free for another command.
	put func(*keeper)

	mu sync.Mutex
	// pid is its number; 0: it is not known to have started.
	pid int
	// proc is what it runs; nil: nothing.
	proc *proc
	last uint64
	// since is when it began or ended to run something, on monoNow.
	since time.Duration
	// left says that a command has left processes running, so that it gets no other one.
	left, ended bool
}

// proc is one command, as the agent sees it.
type proc struct {
	keeper *keeper
	id     uint64
	// done is closed when it has ended with all that it takes along, or did not start; the
	// fields below are set then.
	done   chan struct{}
	ending ending
	err    error
}

// ending is how a command has ended.
type ending struct {
	status  syscall.WaitStatus
	byLease bool
	usage   task.Usage
}

// run starts a command, whose frames prefix precede. After an error it was not started.
func (k *keeper) run(prefix []byte, r *guard.StartRequest) (*proc, error) {
	k.mu.Lock()
	if k.ended {
		k.mu.Unlock()
		return nil, errNotStarted
	}
	k.last++
	// One for each try: the reader of a keeper that has just ended tells of its own, later.
	p := &proc{keeper: k, id: k.last, done: make(chan struct{})}
	r.ID = p.id
	k.proc, k.since = p, monoNow()
	k.mu.Unlock()
	if err := k.send(append(prefix, r.Frame()...), r.Files()); err != nil {
		// Half a message is none, and the reader has seen, or will see, it end.
		_ = k.conn.Close()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.proc == p {
			k.proc = nil
		}
		return nil, errNotStarted
	}
	return p, nil
}

// signal signals the command's group, if it has not ended.
func (p *proc) signal(signals ...unix.Signal) {
	var b []byte
	for _, s := range signals {
		b = append(b, guard.Frame(guard.FrameSignal, p.id, uint64(s))...)
	}
	// Where the keeper is gone, the command is as well, or is being ended.
	_ = p.keeper.send(b, nil)
}

// read takes what the keeper says until it has ended.
func (k *keeper) read() {
	k.receive(k.handle)
	k.mu.Lock()
	k.ended = true
	p, pid := k.proc, k.pid
	k.proc = nil
	k.mu.Unlock()
	k.awaitGone(pid)
	if p == nil {
		return
	}
	switch {
	case pid != 0:
		p.err = errKeeperLost
	case k.whyNot != nil:
		p.err = fmt.Errorf("%w: %w", errNotStarted, k.whyNot)
	default:
		p.err = errNotStarted
	}
	close(p.done)
}

func (k *keeper) handle(kind byte, f *guard.Fields) {
	if kind == guard.FrameUp {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pid = int(f.Number())
		return
	}
	id := f.Number()
	k.mu.Lock()
	p := k.proc
	if p == nil || p.id != id {
		k.mu.Unlock()
		return
	}
	switch kind {
	case guard.FrameFailed:
		p.err = unix.Errno(f.Number())
	case guard.FrameEnded:
		p.ending = ending{status: syscall.WaitStatus(f.Number()), byLease: f.Number() == 1}
		k.left = f.Number() == 1
		p.ending.usage.PeakMemory = f.Number() << 10
		p.ending.usage.CPUTime = time.Duration(f.Number()) * time.Microsecond
	}
	k.proc, k.since = nil, monoNow()
	k.mu.Unlock()
	k.unanswered.Store(0)
	// First, so that who waits for the command finds the keeper free.
	k.put(k)
	close(p.done)
}

// awaitGone waits, for a keeper that has ended, until nothing is left of what it ran. Its guard
// sees to that. Where the guard was killed as well, what can be found is in the keeper's session.
func (k *keeper) awaitGone(pid int) {
	select {
	case <-k.gone:
		return
	case <-k.guard.over:
	}
	if k.guard.told.Load() || pid == 0 {
		return
	}
	for looks := 0; guard.KillSession(pid); looks++ {
		time.Sleep(guard.DyingPause(looks))
	}
}

// dyingTick is how often it is looked whether processes that were killed have ended.
const dyingTick = 5 * time.Millisecond

// busyFor is for how long it has run its command; 0: it runs none.
func (k *keeper) busyFor() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc == nil {
		return 0
	}
	return monoNow() - k.since
}

// number is its process id; 0: it is not up, or has ended.
func (k *keeper) number() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return 0
	}
	return k.pid
}

// retire lets the keeper end once nothing is left of what its commands have left running.
func (k *keeper) retire() {
	if k.send(guard.Frame(guard.FrameRetire), nil) != nil {
		_ = k.conn.Close()
	}
}

// strikes is how often the processes below a keeper that does not answer are killed, at most.
// The keeper's own death ends the command itself, and its guard ends the rest.
const strikes = 100

// destroy ends the command of a keeper that does not do it, and the keeper. Its guard need
// not be able to do anything for that.
func (k *keeper) destroy() {
	pid := k.number()
	if pid == 0 {
		// It was never up: with its connection it is not any more.
		_ = k.conn.Close()
		return
	}
	for range strikes {
		if !guard.KillTree(pid) {
			break
		}
		time.Sleep(dyingTick)
	}
	// As long as it has not ended its number is its own, and its end would have ended its
	// connection.
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ended {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
