//go:build linux

package guard

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// guardPatience is how long a guard may take to end its keepers, and itself, when it is told to.
const guardPatience = 10 * time.Second

// remoteGuard is one guard, as the agent sees it.
type remoteGuard struct {
	cmd *exec.Cmd
	conn
	// told says that it was told to end.
	told atomic.Bool
	// since is when it was started.
	since time.Time
	// over is closed when it has ended.
	over chan struct{}

	mu      sync.Mutex
	keepers map[uint64]*remoteKeeper
	last    uint64
	ended   bool
}

// startGuard starts a guard, which holds lock while it lives; nil: there is no lock.
func startGuard(lock *os.File) (*remoteGuard, error) {
	ours, theirs, err := socketPair("guard")
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	if lock == nil {
		if lock, err = os.Open(os.DevNull); err != nil {
			_ = ours.Close()
			return nil, fmt.Errorf("start the guard process: %w", err)
		}
		defer func() { _ = lock.Close() }()
	}
	g := &remoteGuard{cmd: guardCommand(theirs, lock), conn: conn{file: ours}, since: time.Now(), over: make(chan struct{}), keepers: map[uint64]*remoteKeeper{}}
	if err := g.cmd.Start(); err != nil {
		g.close()
		return nil, fmt.Errorf("start the guard process: %w", err)
	}
	return g, nil
}

// send sends frames, with files.
func (g *remoteGuard) send(b []byte, files ...int) error {
	if err := g.conn.send(b, files); err != nil {
		// A guard that got half a message is of no use any more. The reader sees it end.
		g.kill()
		return fmt.Errorf("%w: %w", ErrGuardLost, err)
	}
	return nil
}

func (g *remoteGuard) kill() { _ = g.cmd.Process.Kill() }

// read takes what the guard says until it has ended. A guard that was told to end, or killed,
// ends with its connection, and one that closes it for another reason is broken.
func (g *remoteGuard) read() {
	g.receive(func(kind byte, f *fields) {
		if kind != frameGone {
			return
		}
		id := f.number()
		g.mu.Lock()
		k := g.keepers[id]
		delete(g.keepers, id)
		g.mu.Unlock()
		if k == nil {
			return
		}
		if errno := unix.Errno(f.number()); errno != 0 {
			k.whyNot = fmt.Errorf("start a keeper: %w", errno)
			k.close()
		}
		close(k.gone)
	})
	g.wait()
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	close(g.over)
}

// wait waits for the end of a guard whose connection has ended.
func (g *remoteGuard) wait() {
	patience := time.Duration(0)
	if g.told.Load() {
		// It ends its keepers first, and it may have been stopped.
		_ = g.cmd.Process.Signal(unix.SIGCONT)
		patience = guardPatience
	}
	timer := time.AfterFunc(patience, g.kill)
	defer timer.Stop()
	_ = g.cmd.Wait()
}

// newKeeper asks for a keeper. It need not be there yet to be sent a command.
func (g *remoteGuard) newKeeper() (*remoteKeeper, error) {
	ours, theirs, err := socketPair("keeper")
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	k := &remoteKeeper{guard: g, conn: conn{file: ours}, gone: make(chan struct{})}
	g.mu.Lock()
	if g.ended {
		g.mu.Unlock()
		k.close()
		return nil, ErrGuardLost
	}
	g.last++
	k.id = g.last
	g.keepers[k.id] = k
	g.mu.Unlock()
	if err := g.send(numberFrame(frameKeeper, k.id), int(theirs.Fd())); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}
