package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
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
	// Due returns finished jobs and request keys that may be forgotten.
	Due(now int64, limit int) ([]uint64, []*logpb.KeyRef, error)
}

// Loops is what a leader does of its own accord.
type Loops struct {
	Proposer Proposer
	State    State
	Fleet    *Fleet
	Log      *slog.Logger
	// RetentionInterval is how often what is over is looked for.
	RetentionInterval time.Duration
}

// Run runs the loops until ctx ends, and returns when all have ended.
func (l *Loops) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.allocate(ctx) })
	wg.Go(func() { l.expireLeases(ctx) })
	wg.Go(func() { l.collect(ctx) })
	wg.Wait()
}

const (
	// idleLook is how often the allocation loop looks without being woken.
	idleLook = time.Second
	// shortest and longest bound the wait for the next timer.
	shortest = time.Millisecond
	// expireBatch bounds the jobs that one op expires.
	expireBatch = 256
	// retryPause is the wait after a proposal that failed.
	retryPause = 20 * time.Millisecond
)

// allocate plans and proposes, one plan in flight.
func (l *Loops) allocate(ctx context.Context) {
	from := ""
	for seed := uint64(1); ctx.Err() == nil; seed++ {
		m := l.State.Machine()
		now := l.Proposer.Now()
		due, next := m.Due(now, expireBatch)
		if len(due) > 0 && !l.propose(ctx, &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: due}}}) {
			continue
		}
		v := m.View(now, from)
		from = v.Next
		plan := Plan(Input{View: v, Extra: l.Fleet.Extra(v.Sessions), Seed: seed})
		if len(plan) > 0 {
			l.propose(ctx, &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: plan}}})
			continue
		}
		if v.Next != "" {
			continue // more classes to look at
		}
		l.sleep(ctx, now, next)
	}
}

// sleep waits until the fleet is woken or the next timer is due.
func (l *Loops) sleep(ctx context.Context, now, next int64) {
	d := idleLook
	if next > 0 {
		d = max(shortest, min(d, time.Duration(next-now)))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.Fleet.wake:
	}
}

// propose proposes op; after a failure it waits a moment and returns false.
func (l *Loops) propose(ctx context.Context, op *logpb.Op) bool {
	if _, err := l.Proposer.Propose(ctx, op); err != nil {
		l.Log.Debug("a proposal of the leader failed", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryPause):
		}
		return false
	}
	return true
}

// leaseLooks is how often within a lease its end is looked for.
const leaseLooks = 20

// expireLeases closes the sessions of workers that fell silent.
func (l *Loops) expireLeases(ctx context.Context) {
	tick := time.NewTicker(max(l.Fleet.Lease()/leaseLooks, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, id := range l.Fleet.Expired() {
			l.Log.Info("a worker's lease has ended", "session", id)
			l.propose(ctx, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}})
		}
	}
}

// collectBatch bounds what one Collect forgets: its deletes are one transaction.
const collectBatch = 64

// collect forgets finished jobs and request keys whose time is over.
func (l *Loops) collect(ctx context.Context) {
	tick := time.NewTicker(l.RetentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		jobs, keys, err := l.State.Due(l.Proposer.Now(), collectBatch)
		if err != nil {
			l.Log.Warn("cannot look for what may be forgotten", "error", err)
			continue
		}
		if len(jobs)+len(keys) > 0 {
			l.propose(ctx, &logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: jobs, Keys: keys}}})
		}
	}
}
