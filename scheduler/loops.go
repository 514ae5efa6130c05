package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/loglimit"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/task"
)

// Proposer puts an op into the log and returns what applying it gave.
type Proposer interface {
	Propose(ctx context.Context, op *logpb.Op) (fsm.Result, error)
	// Now is the state machine's time, Unix ns.
	Now() int64
}

// State is the replicated state, as far as the loops need it.
type State interface {
	Machine() *fsm.Machine
	// Due returns finished jobs and request keys that may be forgotten at now.
	Due(now int64, limit int) ([]uint64, []*logpb.KeyRef, error)
	// Excess returns finished jobs that must be forgotten for the state to take no more
	// than room bytes on disk, but for those that have been already.
	Excess(room int64, limit int) ([]uint64, error)
}

// Loops is what a leader does by itself.
type Loops struct {
	Proposer Proposer
	State    State
	Fleet    *Fleet
	Logger   *slog.Logger
	// RetentionInterval is how often the leader looks for jobs and keys that may be forgotten.
	RetentionInterval time.Duration
	// RetentionBytes is how many bytes the state may take on disk. Beyond that, finished jobs are forgotten
	// before their time, first those whose time comes first; 0: no bound.
	RetentionBytes int64
	// Settled says whether the clock can be relied on. Nil: it can.
	Settled func() bool
	// Behind says that the disk is busy: what ends many tasks waits. Nil: it never is.
	Behind func() bool

	// lines bounds the log lines that workers cause.
	lines *loglimit.Lines
}

// Run runs the loops until ctx ends, and returns when all have ended.
func (l *Loops) Run(ctx context.Context) {
	l.lines = loglimit.New(l.Logger)
	defer l.lines.Close()
	var wg sync.WaitGroup
	wg.Go(func() { l.allocate(ctx) })
	wg.Go(func() { l.expireLeases(ctx) })
	wg.Go(func() { l.collect(ctx) })
	wg.Go(func() { l.reclaim(ctx) })
	wg.Wait()
}

const (
	// expireBatch bounds the jobs that one op expires.
	expireBatch = 256
	// retryPause is the wait after a proposal that failed.
	retryPause = 20 * time.Millisecond
	// behindPause is how long due jobs wait while the disk is busy: less than it needs for the writes that may
	// wait for it.
	behindPause = 20 * time.Millisecond
)

// allocate plans and proposes, one plan in flight.
func (l *Loops) allocate(ctx context.Context) {
	var next Allocator
	for ctx.Err() == nil {
		m := l.State.Machine()
		now := l.Proposer.Now()
		expire, timer := next.Expire(m, now)
		switch {
		case expire == nil:
		case l.Behind != nil && l.Behind():
			// Thousands of large jobs may be due. Their writes would hold up all submits, and then Apply.
			timer = now + int64(behindPause)
		default:
			if _, ok := l.propose(ctx, expire); !ok {
				continue
			}
		}
		plan, idle := next.Plan(m, l.Fleet, now)
		switch {
		case plan != nil:
			l.grant(ctx, plan)
		case idle:
			l.sleep(ctx, now, timer)
		}
	}
}

// grant proposes a plan. If it is refused as a whole, grant waits a moment: the same plan would be made
// again and again, with an entry each time.
func (l *Loops) grant(ctx context.Context, plan *logpb.Op) {
	r, ok := l.propose(ctx, plan)
	if ok && r.Granted == 0 {
		pause(ctx, retryPause)
	}
}

// sleep waits until the fleet is woken or the next timer is due.
func (l *Loops) sleep(ctx context.Context, now, next int64) {
	timer := time.NewTimer(IdleFor(now, next))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.Fleet.wake:
	}
}

// propose proposes op; after a failure it waits a moment and returns false.
func (l *Loops) propose(ctx context.Context, op *logpb.Op) (r fsm.Result, ok bool) {
	r, err := l.Proposer.Propose(ctx, op)
	if err != nil {
		l.Logger.Debug("a proposal of the leader failed", "error", err)
		pause(ctx, retryPause)
		return r, false
	}
	return r, true
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

const (
	// leaseLooks is how many times in each lease the leader looks for leases that have ended.
	leaseLooks = 20
	// closeAtOnce is how many sessions are closed at the same time. If a rack of workers is lost, its sessions
	// must not wait for a commit each.
	closeAtOnce = 256
)

// expireLeases closes the sessions of workers that fell silent. It goes on looking while sessions
// are being closed. So a slow log does not hold up the others, and the loop sees when this server
// stood still.
func (l *Loops) expireLeases(ctx context.Context) {
	closing := &closing{sessions: map[uint64]struct{}{}}
	defer closing.wg.Wait()
	last := time.Now()
	for range ticks.Every(ctx, max(l.Fleet.Lease()/leaseLooks, 10*time.Millisecond)) {
		since := time.Since(last)
		last = time.Now()
		expired, stoodStill := l.Fleet.Lapsed(l.State.Machine().Sessions, since)
		if stoodStill {
			l.Logger.Warn("this server stood still: every worker gets a new lease", "for", since)
		}
		if expired = closing.begin(expired); len(expired) == 0 {
			continue
		}
		closing.wg.Go(func() {
			for some := range slices.Chunk(expired, closeAtOnce) {
				l.closeExpired(ctx, some)
				closing.end(some)
			}
		})
	}
}

// closing is the sessions that are being closed.
type closing struct {
	wg sync.WaitGroup

	mu       sync.Mutex
	sessions map[uint64]struct{}
}

// begin returns those of sessions that are not being closed yet, and notes that they are.
func (c *closing) begin(sessions []uint64) (fresh []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range sessions {
		if _, already := c.sessions[id]; !already {
			c.sessions[id] = struct{}{}
			fresh = append(fresh, id)
		}
	}
	return fresh
}

// end notes that the attempt to close sessions is over.
func (c *closing) end(sessions []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range sessions {
		delete(c.sessions, id)
	}
}

// closeExpired closes sessions at the same time. Some may have sent a beat since they were found.
func (l *Loops) closeExpired(ctx context.Context, sessions []uint64) {
	var wg sync.WaitGroup
	for _, id := range sessions {
		if !l.Fleet.Close(id) {
			continue
		}
		l.lines.Info("a worker's lease has ended", "session", id)
		wg.Go(func() {
			_, err := l.Proposer.Propose(ctx, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}})
			if err == nil {
				return
			}
			l.Logger.Debug("a session was not closed", "session", id, "error", err)
			if !errors.Is(err, task.ErrUnknownOutcome) && ctx.Err() == nil {
				l.Fleet.Keep(id)
			}
			pause(ctx, retryPause)
		})
	}
	wg.Wait()
}
