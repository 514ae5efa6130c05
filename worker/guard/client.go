package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/worker/guard"
)

const (
	// guardPace is how long a guard must have lived for another one to be started at once. The
	// next ones wait, guardPause first and twice as long each time, up to guardMaxPause: a task
	// that kills guards must not make the agent start them in a loop.
	guardPace     = 10 * time.Second
	guardPause    = 100 * time.Millisecond
	guardMaxPause = 10 * time.Second
	// guardWait is how long a task waits for the next guard before it is given back.
	guardWait = time.Second
	// tendEvery is how often guard and keepers are looked after while there are any.
	tendEvery = time.Second
	// maxPings is how many pings in a row may stay unanswered. They are counted and not timed,
	// so that an agent that was paused itself does not blame others.
	maxPings = 3
	// keeperProbeAfter is how long a keeper has been busy when it is asked for a sign of life.
	// Most commands end before that, and say so.
	keeperProbeAfter = 5 * time.Second
	// keeperIdle is how long a keeper is kept that has nothing to do.
	keeperIdle = time.Minute
	// freshTries is how many keepers a command is offered to, where those before it have turned
	// out to be dead.
	freshTries = 3
)

// guardian keeps a guard and its keepers for the agent.
type guardian struct {
	log      *slog.Logger
	lock     *os.File
	deadline func() time.Duration
	// unguarded is called when exclusive handlers run and no guard can be had.
	unguarded func()
	scratch   *scratch
	// stir has an element when there is something to tend.
	stir chan struct{}

	mu    sync.Mutex
	guard *guardProcess
	// pause is the last wait for a guard, and notBefore, on monoNow, when it is over.
	pause, notBefore time.Duration
	// holds is how many exclusive handlers run.
	holds int
	// keepers is all that have not ended, exclusive those with exclusive commands, idle those
	// that are free, the warmest last.
	keepers, exclusive map[*keeper]struct{}
	idle               []*keeper
	closed             bool
	// parts is the goroutines that read what guards and keepers say.
	parts sync.WaitGroup
}

func newGuardian(id *identity, log *slog.Logger, deadline func() time.Duration) *guardian {
	g := &guardian{
		log: log, lock: id.guardLock, deadline: deadline, unguarded: func() {}, scratch: &scratch{log: log},
		stir: make(chan struct{}, 1), keepers: map[*keeper]struct{}{}, exclusive: map[*keeper]struct{}{},
	}
	if id.dir != "" {
		g.scratch.base = id.scratch()
	}
	g.scratch.made = g.scratchMade
	return g
}

// start starts the guard if there is none.
func (g *guardian) start() error {
	if _, err := g.scratch.folder(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.get()
	return err
}

// get returns the guard. The caller has the lock, which is let go of while the next guard has to
// wait a little.
func (g *guardian) get() (*guardProcess, error) {
	for {
		wait := g.notBefore - monoNow()
		switch {
		case g.closed:
			return nil, errGuardLost
		case g.guard != nil:
			return g.guard, nil
		case wait > guardWait:
			return nil, fmt.Errorf("%w again and again: the next one is started in %v", errGuardLost, wait.Round(time.Second))
		case wait > 0:
			g.mu.Unlock()
			time.Sleep(wait)
			g.mu.Lock()
			continue
		}
		started, err := g.begin()
		if err != nil {
			g.hesitate()
		}
		return started, err
	}
}

// begin starts a guard.
func (g *guardian) begin() (*guardProcess, error) {
	started, err := startGuard(g.lock)
	if err != nil {
		return nil, err
	}
	first := guard.LeaseFrame(g.deadline())
	for range g.holds {
		first = append(first, guard.Frame(guard.FrameHold)...)
	}
	if dir := g.scratch.path(); dir != "" {
		first = append(first, guard.ScratchFrame(dir)...)
	}
	err = started.send(first)
	if err == nil {
		g.guard = started
	}
	g.parts.Go(func() {
		started.read()
		g.lost(started)
	})
	return started, err
}

// hesitate makes the next guard wait.
func (g *guardian) hesitate() {
	g.pause = min(guardMaxPause, max(guardPause, 2*g.pause))
	g.notBefore = monoNow() + g.pause
}

// lost is called when a guard has ended. What runs goes on: each command has a keeper, which
// listens to the agent. Only no keeper of that guard gets another one.
func (g *guardian) lost(old *guardProcess) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guard != old {
		return
	}
	g.guard = nil
	if g.closed {
		return
	}
	for _, k := range g.idle {
		_ = k.conn.Close()
	}
	g.idle = nil
	if monoNow()-old.since < guardPace {
		g.hesitate()
	} else {
		g.pause, g.notBefore = 0, 0
	}
	g.log.Error("the guard process has ended, which only somebody on this machine can bring about: another one is started, and what runs goes on",
		"after", (monoNow() - old.since).Round(time.Millisecond), "running", len(g.keepers))
	if g.holds == 0 {
		return // the next command starts one
	}
	if _, err := g.get(); err != nil {
		g.log.Error("there is no guard until the next task that needs one", "error", err)
		go g.unguarded()
	}
}

// extend tells guard and keepers the deadline of exclusive work.
func (g *guardian) extend() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	lease := guard.LeaseFrame(g.deadline())
	for k := range g.exclusive {
		// One that cannot be told is lost, or kills too early.
		_ = k.send(lease, nil)
	}
	if g.guard == nil {
		return nil
	}
	return g.guard.send(lease)
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
	if err := held.send(guard.Frame(guard.FrameHold)); err != nil {
		return nil, err
	}
	g.holds++
	notify(g.stir)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.holds--
		if g.guard != nil {
			// A guard that cannot be told is lost, and the next one starts from holds.
			_ = g.guard.send(guard.Frame(guard.FrameRelease))
		}
	}, nil
}

// run starts a command. The files of the request are still the caller's. After an error it was
// not started.
func (g *guardian) run(r *guard.StartRequest) (p *proc, err error) {
	for range freshTries {
		var k *keeper
		var prefix []byte
		if k, prefix, err = g.take(r.Exclusive); err != nil {
			return nil, err
		}
		if p, err = k.run(prefix, r); err == nil {
			return p, nil
		}
	}
	return nil, err
}

// take returns a keeper for one command, and what it must be told before.
func (g *guardian) take(exclusive bool) (k *keeper, prefix []byte, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.idle); n > 0 {
		k = g.idle[n-1]
		g.idle = g.idle[:n-1]
	} else if k, err = g.keeper(); err != nil {
		return nil, nil, err
	}
	if !exclusive {
		return k, nil, nil
	}
	// From here on it hears of every new deadline.
	g.exclusive[k] = struct{}{}
	if err := k.guard.send(guard.Frame(guard.FrameExclusive, k.id, 1)); err != nil {
		_ = k.conn.Close()
		return nil, nil, err
	}
	return k, guard.LeaseFrame(g.deadline()), nil
}

// keeper asks the guard for a keeper.
func (g *guardian) keeper() (*keeper, error) {
	held, err := g.get()
	if err != nil {
		return nil, err
	}
	k, err := held.newKeeper()
	if err != nil {
		return nil, err
	}
	k.put = g.put
	g.keepers[k] = struct{}{}
	notify(g.stir)
	g.parts.Go(func() {
		k.read()
		g.forget(k)
	})
	return k, nil
}

// put takes back a keeper whose command has ended.
func (g *guardian) put(k *keeper) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.exclusive[k]; ok {
		delete(g.exclusive, k)
		_ = k.guard.send(guard.Frame(guard.FrameExclusive, k.id, 0))
	}
	switch {
	case k.left:
		k.retire()
	case g.closed || k.guard != g.guard:
		_ = k.conn.Close()
	default:
		g.idle = append(g.idle, k)
	}
}

// forget lets go of a keeper that has ended.
func (g *guardian) forget(k *keeper) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.keepers, k)
	delete(g.exclusive, k)
	g.idle = slices.DeleteFunc(g.idle, func(i *keeper) bool { return i == k })
}

// scratchMade tells the guard of a folder that it is to remove.
func (g *guardian) scratchMade(dir string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guard != nil {
		_ = g.guard.send(guard.ScratchFrame(dir))
	}
}

// tend looks after guard and keepers until ctx ends.
func (g *guardian) tend(ctx context.Context) {
	for {
		if !g.hasWork() {
			// An idle worker does not wake up.
			select {
			case <-g.stir:
			case <-ctx.Done():
				return
			}
			continue
		}
		if !sleep(ctx, tendEvery) {
			return
		}
		g.look()
	}
}

func (g *guardian) hasWork() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.keepers) > 0 || g.holds > 0
}

// look asks guard and busy keepers for a sign of life, wakes those that give none, which a task
// may have stopped, and then kills them. Keepers that have long been idle may go.
func (g *guardian) look() {
	g.mu.Lock()
	held := g.guard
	var busy []*keeper
	for k := range g.keepers {
		if k.busyFor() > keeperProbeAfter {
			busy = append(busy, k)
		}
	}
	g.idle = slices.DeleteFunc(g.idle, func(k *keeper) bool {
		over := monoNow()-k.since > keeperIdle
		if over {
			_ = k.conn.Close()
		}
		return over
	})
	g.mu.Unlock()
	if held != nil {
		if held.silent() {
			g.log.Error("the guard process does not answer, as if it was stopped: it is killed, and another one is started")
			held.kill()
		} else if held.unanswered.Load() > 1 {
			_ = held.cmd.Process.Signal(unix.SIGCONT)
		}
	}
	for _, k := range busy {
		if k.silent() {
			g.log.Error("the process that watches over a command does not answer, as if it was stopped: both are killed", "pid", k.number())
			go k.destroy()
		} else if pid := k.number(); k.unanswered.Load() > 1 && pid != 0 {
			_ = unix.Kill(pid, unix.SIGCONT)
		}
	}
}

// scratchDir is the folder for working directories, if it was made.
func (g *guardian) scratchDir() string { return g.scratch.path() }

// close ends the guard and the keepers, with whatever they still run.
func (g *guardian) close() {
	g.mu.Lock()
	g.closed = true
	for k := range g.keepers {
		_ = k.conn.Close()
	}
	if g.guard != nil {
		g.guard.told.Store(true)
		_ = g.guard.conn.Close()
	}
	g.mu.Unlock()
	g.parts.Wait()
	if dir := g.scratch.path(); dir != "" {
		if err := guard.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			g.log.Warn("cannot remove the working directories of commands", "error", err)
		}
	}
}
