//go:build linux

package guard

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// guardMinAge is how long a guard must have lived for another one to be started at once. The
	// next ones wait, guardPause first and twice as long each time, up to guardMaxPause: a task
	// that kills guards must not make the agent start them in a loop.
	guardMinAge   = 10 * time.Second
	guardPause    = 100 * time.Millisecond
	guardMaxPause = 10 * time.Second
	// guardWait is how long a task waits for the next guard before it is given back.
	guardWait = time.Second
	// tendEvery is how often the agent checks guard and keepers while there are any.
	tendEvery = time.Second
	// maxPings is how many pings in a row may stay unanswered. They are counted and not timed,
	// so that an agent that was paused itself does not blame others.
	maxPings = 3
	// keeperProbeAfter is how long a keeper has been busy when it is asked for a sign of life.
	// Most commands end before that, and say so.
	keeperProbeAfter = 5 * time.Second
	// keeperIdle is how long a keeper that has nothing to do stays.
	keeperIdle = time.Minute
	// freshTries is how many keepers the agent offers a command to, if the ones before turn out to be
	// dead.
	freshTries = 3
)

// Client keeps a guard and its keepers for the agent.
type Client struct {
	cfg Config
	log *slog.Logger
	// stir has an element when there is something to tend.
	stir chan struct{}

	mu    sync.Mutex
	guard *remoteGuard
	// pause is the last wait for a guard, and notBefore when it is over.
	pause     time.Duration
	notBefore time.Time
	// holds is how many exclusive handlers run.
	holds int
	// scratch is the folder that is to be removed when the agent is gone; empty: none.
	scratch string
	// keepers is all that have not ended, exclusive those with exclusive commands, idle those
	// that are free, the warmest last.
	keepers, exclusive map[*remoteKeeper]struct{}
	idle               []*remoteKeeper
	closed             bool
	// parts is the goroutines that read what guards and keepers say.
	parts sync.WaitGroup
}

// NewClient makes a client. It starts a guard when one is needed.
func NewClient(cfg Config) *Client {
	return &Client{
		cfg: cfg, log: cfg.Logger, stir: make(chan struct{}, 1),
		keepers: map[*remoteKeeper]struct{}{}, exclusive: map[*remoteKeeper]struct{}{},
	}
}

// Start starts the guard if there is none.
func (c *Client) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.get()
	return err
}

// get returns the guard. The caller has the lock, which get releases while the next guard has to wait
// a little.
func (c *Client) get() (*remoteGuard, error) {
	for {
		wait := time.Until(c.notBefore)
		switch {
		case c.closed:
			return nil, ErrGuardLost
		case c.guard != nil:
			return c.guard, nil
		case wait > guardWait:
			return nil, fmt.Errorf("%w again and again: the next one is started in %v", ErrGuardLost, wait.Round(time.Second))
		case wait > 0:
			c.mu.Unlock()
			time.Sleep(wait)
			c.mu.Lock()
			continue
		}
		started, err := c.begin()
		if err != nil {
			c.hesitate()
		}
		return started, err
	}
}

// begin starts a guard.
func (c *Client) begin() (*remoteGuard, error) {
	started, err := startGuard(c.cfg.Lock)
	if err != nil {
		return nil, err
	}
	first := leaseFrame(c.cfg.Deadline())
	for range c.holds {
		first = append(first, numberFrame(frameHold)...)
	}
	if c.scratch != "" {
		first = append(first, scratchFrame(c.scratch)...)
	}
	err = started.send(first)
	if err == nil {
		c.guard = started
	}
	c.parts.Go(func() {
		started.read()
		c.lost(started)
	})
	return started, err
}

// hesitate makes the next guard wait.
func (c *Client) hesitate() {
	c.pause = min(guardMaxPause, max(guardPause, 2*c.pause))
	c.notBefore = time.Now().Add(c.pause)
}

// lost is called when a guard has ended. Commands go on, because each has a keeper that listens to
// the agent. But no keeper of that guard gets another command.
func (c *Client) lost(old *remoteGuard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guard != old {
		return
	}
	c.guard = nil
	if c.closed {
		return
	}
	for _, k := range c.idle {
		k.close()
	}
	c.idle = nil
	lived := time.Since(old.since)
	if lived < guardMinAge {
		c.hesitate()
	} else {
		c.pause, c.notBefore = 0, time.Time{}
	}
	c.log.Error("the guard process has ended, which only somebody on this machine can bring about: another one is started, and what runs goes on",
		"after", lived.Round(time.Millisecond), "running", len(c.keepers))
	if c.holds == 0 {
		return // the next command starts one
	}
	if _, err := c.get(); err != nil {
		c.log.Error("there is no guard until the next task that needs one", "error", err)
		go c.cfg.Unguarded()
	}
}

// Extend tells guard and keepers the deadline of exclusive work, as Config.Deadline has it now.
func (c *Client) Extend() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	lease := leaseFrame(c.cfg.Deadline())
	for k := range c.exclusive {
		// One that cannot be told is lost, or kills too early.
		_ = k.send(lease, nil)
	}
	if c.guard == nil {
		return nil
	}
	return c.guard.send(lease)
}

// HoldAgent makes the guard kill this process when the deadline passes before
// release is called.
func (c *Client) HoldAgent() (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, err := c.get()
	if err != nil {
		return nil, err
	}
	// What is written reaches the guard even when this process never runs again.
	if err := g.send(numberFrame(frameHold)); err != nil {
		return nil, err
	}
	c.holds++
	notify(c.stir)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.holds--
		if c.guard != nil {
			// A guard that cannot be told is lost, and the next one starts from holds.
			_ = c.guard.send(numberFrame(frameRelease))
		}
	}, nil
}

// Run starts a command. The files of the request are still the caller's. After an error it was
// not started.
func (c *Client) Run(r *Request) (p *Process, err error) {
	for range freshTries {
		var k *remoteKeeper
		var prefix []byte
		if k, prefix, err = c.take(r.Exclusive); err != nil {
			return nil, err
		}
		if p, err = k.run(prefix, r); err == nil {
			return p, nil
		}
	}
	return nil, err
}

// take returns a keeper for one command, and what it must be told before.
func (c *Client) take(exclusive bool) (k *remoteKeeper, prefix []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		k = c.idle[n-1]
		c.idle = c.idle[:n-1]
	} else if k, err = c.newKeeper(); err != nil {
		return nil, nil, err
	}
	if !exclusive {
		return k, nil, nil
	}
	// From here on it hears of every new deadline.
	c.exclusive[k] = struct{}{}
	if err := k.guard.send(numberFrame(frameExclusive, k.id, 1)); err != nil {
		k.close()
		return nil, nil, err
	}
	return k, leaseFrame(c.cfg.Deadline()), nil
}

// newKeeper asks the guard for a keeper.
func (c *Client) newKeeper() (*remoteKeeper, error) {
	g, err := c.get()
	if err != nil {
		return nil, err
	}
	k, err := g.newKeeper()
	if err != nil {
		return nil, err
	}
	k.put = c.put
	c.keepers[k] = struct{}{}
	notify(c.stir)
	c.parts.Go(func() {
		k.read()
		c.forget(k)
	})
	return k, nil
}

// put takes back a keeper whose command has ended.
func (c *Client) put(k *remoteKeeper) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.exclusive[k]; ok {
		delete(c.exclusive, k)
		_ = k.guard.send(numberFrame(frameExclusive, k.id, 0))
	}
	switch {
	case k.left:
		k.retire()
	case c.closed || k.guard != c.guard:
		k.close()
	default:
		c.idle = append(c.idle, k)
	}
}

// forget removes a keeper that has ended.
func (c *Client) forget(k *remoteKeeper) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keepers, k)
	delete(c.exclusive, k)
	c.idle = slices.DeleteFunc(c.idle, func(i *remoteKeeper) bool { return i == k })
}

// RemoveAtEnd has the guard remove a folder when the agent is gone. A later guard is told of the
// last one only.
func (c *Client) RemoveAtEnd(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scratch = dir
	if c.guard != nil {
		_ = c.guard.send(scratchFrame(dir))
	}
}

// Tend looks after guard and keepers until ctx ends.
func (c *Client) Tend(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if !c.hasWork() {
			// An idle worker does not wake up.
			select {
			case <-c.stir:
			case <-ctx.Done():
				return
			}
			continue
		}
		timer.Reset(tendEvery)
		select {
		case <-timer.C:
			c.look()
		case <-ctx.Done():
			return
		}
	}
}

func (c *Client) hasWork() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keepers) > 0 || c.holds > 0
}

// look asks guard and busy keepers for a sign of life. A task may have stopped those that give none:
// it wakes them first, and kills them later. It ends keepers that have been idle for long.
func (c *Client) look() {
	c.mu.Lock()
	g := c.guard
	var busy []*remoteKeeper
	for k := range c.keepers {
		if k.busyFor() > keeperProbeAfter {
			busy = append(busy, k)
		}
	}
	c.idle = slices.DeleteFunc(c.idle, func(k *remoteKeeper) bool {
		over := time.Since(k.since) > keeperIdle
		if over {
			k.close()
		}
		return over
	})
	c.mu.Unlock()
	if g != nil {
		if g.silent() {
			c.log.Error("the guard process does not answer, as if it was stopped: it is killed, and another one is started")
			g.kill()
		} else if g.unanswered.Load() > 1 {
			_ = g.cmd.Process.Signal(unix.SIGCONT)
		}
	}
	for _, k := range busy {
		if k.silent() {
			c.log.Error("the process that watches over a command does not answer, as if it was stopped: both are killed", "pid", k.number())
			go k.destroy()
		} else if pid := k.number(); k.unanswered.Load() > 1 && pid != 0 {
			_ = unix.Kill(pid, unix.SIGCONT)
		}
	}
}

// Close ends the guard and the keepers, with whatever they still run.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for k := range c.keepers {
		k.close()
	}
	if c.guard != nil {
		c.guard.told.Store(true)
		c.guard.close()
	}
	c.mu.Unlock()
	c.parts.Wait()
}
