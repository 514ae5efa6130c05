package worker

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// guardian keeps a guard for the agent, and starts it again when it is lost.
type guardian struct {
	log      *slog.Logger
	lock     *os.File
	deadline func() time.Duration
	// unguarded is called when exclusive handlers run and no guard can be had.
	unguarded func()

	mu    sync.Mutex
	guard *guard
	// holds is how many exclusive handlers run.
	holds  int
	closed bool
	// scratch is the folder for working directories; base is where it is made.
	scratch, base string
	ended         sync.WaitGroup
}

func newGuardian(id *identity, log *slog.Logger, deadline func() time.Duration) *guardian {
	g := &guardian{log: log, lock: id.guardLock, deadline: deadline, unguarded: func() {}}
	if id.dir != "" {
		g.base = id.scratch()
	}
	return g
}

// start starts the guard if there is none.
func (g *guardian) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.get()
	return err
}

// get returns the guard. The caller has the lock.
func (g *guardian) get() (*guard, error) {
	if g.closed {
		return nil, errGuardLost
	}
	if g.guard != nil {
		return g.guard, nil
	}
	if err := g.makeScratch(); err != nil {
		return nil, err
	}
	started, err := startGuard(g.scratch, g.lock)
	if err != nil {
		return nil, err
	}
	first := leaseFrame(g.deadline())
	for range g.holds {
		first = append(first, frame(frameHold)...)
	}
	if err := started.send(first, nil); err != nil {
		_ = started.conn.Close()
		started.wait()
		return nil, err
	}
	g.guard = started
	g.ended.Go(func() {
		started.read()
		g.lost(started)
	})
	return started, nil
}

func (g *guardian) makeScratch() (err error) {
	switch {
	case g.scratch != "":
		return nil
	case g.base != "":
		g.scratch, err = g.base, os.MkdirAll(g.base, 0o700)
	default:
		g.scratch, err = os.MkdirTemp("", "rota-worker-")
	}
	if err != nil {
		g.scratch = ""
		return fmt.Errorf("make a folder for the working directories of commands: %w", err)
	}
	return nil
}

func (g *guardian) scratchDir() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.scratch
}

// lost is called when a guard has ended.
func (g *guardian) lost(old *guard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guard == old {
		g.guard = nil
	}
	if g.closed {
		return
	}
	g.log.Error("the guard process has ended: its commands were killed")
	var err error
	if monoNow()-old.since < guardPace {
		// It did not live long, and the next one would not either.
		err = errGuardLost
	} else {
		// Left to the next command, exclusive handlers would be without one till then.
		_, err = g.get()
	}
	if err != nil {
		g.log.Error("there is no guard until the next task that needs one", "err", err)
		if g.holds > 0 {
			go g.unguarded()
		}
	}
}

// guardPace is how long a guard must have lived for another one to be started at
// once. Guards that cannot live must not be started in a loop.
const guardPace = time.Second

// extend tells the guard the deadline of exclusive work.
func (g *guardian) extend() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guard == nil {
		return nil
	}
	return g.guard.send(leaseFrame(g.deadline()), nil)
}

// holdAgent makes the guard kill this process when the deadline passes before
// release is called.
func (g *guardian) holdAgent() (release func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	held, err := g.get()
	if err != nil {
		return nil, err
	}
	// What is written reaches the guard even when this process never runs again.
	if err := held.send(frame(frameHold), nil); err != nil {
		return nil, err
	}
	g.holds++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.holds--
		if g.guard != nil {
			// A guard that cannot be told is lost, and the next one starts from holds.
			_ = g.guard.send(frame(frameRelease), nil)
		}
	}, nil
}

// run starts a command. The files of the request are still the caller's.
func (g *guardian) run(r *startRequest, p *proc) error {
	g.mu.Lock()
	got, err := g.get()
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return got.run(r, p)
}

// close ends the guard, with whatever it still runs.
func (g *guardian) close() {
	g.mu.Lock()
	g.closed = true
	if g.guard != nil {
		g.guard.told.Store(true)
		_ = g.guard.conn.Close()
	}
	g.mu.Unlock()
	g.ended.Wait()
	if g.scratch != "" {
		if err := removeAll(g.scratch); err != nil {
			g.log.Warn("cannot remove the working directories of commands", "err", err)
		}
	}
}
