package scheduler

import (
	"context"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/ticks"
)

// collectBatch bounds what one Collect forgets: its deletes are one transaction.
const collectBatch = 64

// collect forgets finished jobs and request keys whose time is over, and jobs for which
// there is no room any more.
func (l *Loops) collect(ctx context.Context) {
	for range ticks.Every(ctx, l.RetentionInterval) {
		// As many batches as there are: jobs may end faster than ticks come.
		for l.settled() && l.forget(ctx) >= collectBatch {
		}
		l.makeRoom(ctx)
	}
}

func (l *Loops) settled() bool { return l.Settled == nil || l.Settled() }

// makeRoom forgets finished jobs until the rest fits, or until no more can be forgotten.
func (l *Loops) makeRoom(ctx context.Context) {
	warned := false
	for l.RetentionBytes > 0 && ctx.Err() == nil {
		jobs, err := l.State.Excess(l.RetentionBytes, collectBatch)
		if err != nil {
			l.Logger.Warn("cannot look for what there is no room for", "error", err)
			return
		}
		if len(jobs) == 0 || l.proposeCollect(ctx, &logpb.Collect{Jobs: jobs, OverBudget: true}) == 0 {
			return
		}
		if !warned {
			l.Logger.Warn("finished jobs are forgotten before their time, for want of room", "limit", l.RetentionBytes)
			warned = true
		}
	}
}

// forget forgets a batch of what is due. It returns how many jobs and keys that were; 0
// if it failed.
func (l *Loops) forget(ctx context.Context) uint32 {
	jobs, keys, err := l.State.Due(l.Proposer.Now(), collectBatch)
	if err != nil {
		l.Logger.Warn("cannot look for what may be forgotten", "error", err)
		return 0
	}
	if len(jobs)+len(keys) == 0 {
		return 0
	}
	return l.proposeCollect(ctx, &logpb.Collect{Jobs: jobs, Keys: keys})
}

func (l *Loops) proposeCollect(ctx context.Context, op *logpb.Collect) uint32 {
	r, _ := l.propose(ctx, &logpb.Op{Op: &logpb.Op_Collect{Collect: op}})
	return r.Total
}
