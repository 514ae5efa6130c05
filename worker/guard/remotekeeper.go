//go:build linux

package guard

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// remoteKeeper is one keeper, as the agent sees it.
type remoteKeeper struct {
	guard *remoteGuard
	id    uint64
	conn
	// gone is closed by the guard: nothing is left of it, or it did not start, which whyNot
	// explains then.
	gone   chan struct{}
	whyNot error
	// put is called when it is free for another command.
	put func(*remoteKeeper)

	mu sync.Mutex
	// pid is its number; 0: it is not known to have started.
	pid int
	// proc is what it runs; nil: nothing.
	proc *Process
	last uint64
	// since is when it began or ended to run something.
	since time.Time
	// left says that a command has left processes running, so that it gets no other one.
	left, ended bool
}

// run starts a command, whose frames prefix precede. After an error it was not started.
func (k *remoteKeeper) run(prefix []byte, r *Request) (*Process, error) {
	k.mu.Lock()
	if k.ended {
		k.mu.Unlock()
		return nil, ErrNotStarted
	}
	k.last++
	// One for each try: the reader of a keeper that has just ended tells of its own, later.
	p := &Process{keeper: k, id: k.last, done: make(chan struct{})}
	r.ID = p.id
	k.proc, k.since = p, time.Now()
	k.mu.Unlock()
	if err := k.send(append(prefix, r.frame()...), r.files()); err != nil {
		// Half a message is none, and the reader has seen, or will see, it end.
		k.close()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.proc == p {
			k.proc = nil
		}
		return nil, ErrNotStarted
	}
	return p, nil
}

// read takes what the keeper says until it has ended.
func (k *remoteKeeper) read() {
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
		p.err = ErrKeeperLost
	case k.whyNot != nil:
		p.err = fmt.Errorf("%w: %w", ErrNotStarted, k.whyNot)
	default:
		p.err = ErrNotStarted
	}
	close(p.done)
}

func (k *remoteKeeper) handle(kind byte, f *fields) {
	if kind == frameUp {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pid = int(f.number())
		return
	}
	id := f.number()
	k.mu.Lock()
	p := k.proc
	if p == nil || p.id != id {
		k.mu.Unlock()
		return
	}
	switch kind {
	case frameFailed:
		p.err = unix.Errno(f.number())
	case frameEnded:
		p.ending = Ending{Status: syscall.WaitStatus(f.number()), ByLease: f.number() == 1}
		k.left = f.number() == 1
		p.ending.Usage.PeakMemory = f.number() << 10
		p.ending.Usage.CPUTime = time.Duration(f.number()) * time.Microsecond
	}
	k.proc, k.since = nil, time.Now()
	k.mu.Unlock()
	k.unanswered.Store(0)
	// First, so that who waits for the command finds the keeper free.
	k.put(k)
	close(p.done)
}

// awaitGone waits, for a keeper that has ended, until nothing is left of what it ran. Its guard
// sees to that. Where the guard was killed as well, what can be found is in the keeper's session.
func (k *remoteKeeper) awaitGone(pid int) {
	select {
	case <-k.gone:
		return
	case <-k.guard.over:
	}
	if k.guard.told.Load() || pid == 0 {
		return
	}
	for looks := 0; killSession(pid); looks++ {
		time.Sleep(dyingPause(looks))
	}
}

// busyFor is for how long it has run its command; 0: it runs none.
func (k *remoteKeeper) busyFor() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.proc == nil {
		return 0
	}
	return time.Since(k.since)
}

// number is its process id; 0: it is not up, or has ended.
func (k *remoteKeeper) number() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return 0
	}
	return k.pid
}

// retire lets the keeper end once nothing is left of what its commands have left running.
func (k *remoteKeeper) retire() {
	if k.send(numberFrame(frameRetire), nil) != nil {
		k.close()
	}
}

// strikes is how often the processes below a keeper that does not answer are killed, at most.
// The keeper's own death ends the command itself, and its guard ends the rest.
const strikes = 100

// destroy ends the command of a keeper that does not do it, and the keeper. Its guard need
// not be able to do anything for that.
func (k *remoteKeeper) destroy() {
	pid := k.number()
	if pid == 0 {
		// It was never up: with its connection it is not any more.
		k.close()
		return
	}
	for range strikes {
		if !killTree(pid) {
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
