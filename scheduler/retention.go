package scheduler

import (
	"context"
	"math"
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

const (
	// collectBatch bounds what one Collect forgets: its deletes are one transaction.
	collectBatch = 64
	// roomWait is how long what was forgotten takes to leave the disk, about.
	roomWait = 250 * time.Millisecond
)

// collect forgets finished jobs and request keys whose time is over, and jobs for which
// there is no room any more.
func (l *Loops) collect(ctx context.Context) {
	tick := time.NewTicker(l.RetentionInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// As many batches as there are: jobs may end faster than ticks come.
		for l.settled() && l.forget(ctx, l.Proposer.Now(), false) >= collectBatch {
		}
		l.makeRoom(ctx)
	}
}

func (l *Loops) settled() bool { return l.Settled == nil || l.Settled() }

// makeRoom forgets jobs until the rest fits, or none is left that could be forgotten.
func (l *Loops) makeRoom(ctx context.Context) {
	warned := false
	for l.RetentionBytes > 0 && l.State.Used() > l.RetentionBytes {
		if l.forget(ctx, math.MaxInt64, true) == 0 {
			return
		}
		if !warned {
			l.Log.Warn("finished jobs are forgotten before their time, for want of room", "used", l.State.Used(), "limit", l.RetentionBytes)
			warned = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(roomWait):
		}
	}
}

// forget forgets a batch of what is due at a time. It returns how many jobs and keys
// that were; 0 where it failed.
func (l *Loops) forget(ctx context.Context, at int64, overBudget bool) uint32 {
	jobs, keys, err := l.State.Due(at, collectBatch)
	if err != nil {
		l.Log.Warn("cannot look for what may be forgotten", "error", err)
		return 0
	}
	if overBudget {
		keys = nil // what was promised of them does not depend on room
	}
	if len(jobs)+len(keys) == 0 {
		return 0
	}
	op := &logpb.Collect{Jobs: jobs, Keys: keys, OverBudget: overBudget}
	r, _ := l.propose(ctx, &logpb.Op{Op: &logpb.Op_Collect{Collect: op}})
	return r.Total
}
