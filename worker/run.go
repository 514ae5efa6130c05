package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/worker/report"
)

// run is one attempt in a slot.
type run struct {
	task  Task
	grant report.Grant
	work  *work
	ctx   runContext
	// started is when the slot took it, on monoNow.
	started time.Duration
	// silent says that nothing is to be reported: the task now belongs to another worker.
	silent atomic.Bool
	// givenUp says that heldTasks.givenUp counts it. The lock of heldTasks guards it.
	givenUp bool
}

func newRun(ctx context.Context) *run { return &run{ctx: runContext{parent: ctx}} }

// execute runs a task and returns how it ended.
func (w *Worker) execute(s *slot, r *run) report.Result {
	var ctx context.Context = &r.ctx
	if ctx.Err() != nil {
		return endedBy(ctx)
	}
	if r.work.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.work.Timeout, ErrTimeout)
		defer cancel()
	}
	if r.work.command != nil {
		return w.runCommand(ctx, s, r)
	}
	return w.runHandler(ctx, r)
}

// finish reports how a run ended.
func (w *Worker) finish(r *run, res report.Result) {
	r.ctx.cancel(nil)
	if r.silent.Load() {
		return
	}
	res.RunTime = monoNow() - r.started
	// The next task of a serial job begins when this result is recorded, and a cancel is over when
	// it is confirmed.
	urgent := r.work.Exclusive || res.Outcome == rotav1.Outcome_OUTCOME_STOPPED
	w.out.Add(r.grant, r.task.Index, &res, urgent)
}

// endedBy is the result of a task that ended because its context did.
func endedBy(ctx context.Context) report.Result {
	if errors.Is(context.Cause(ctx), ErrTimeout) {
		return report.Result{Kind: report.TimedOut, Err: ErrTimeout.Error()}
	}
	return report.Result{Kind: report.Stopped}
}
