package worker

import (
	"context"
	"errors"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/worker/guard"
)

// fence asks exclusive tasks to end when too much of the lease has passed. It leaves killing them to
// the guard, which can do it even if this process cannot.
func (w *Worker) fence(ctx context.Context) {
	for {
		if w.held.exclusivesHeld() == 0 {
			select {
			case <-w.exclusiveCame:
			case <-ctx.Done():
				return
			}
			continue
		}
		if bootNow() >= w.lease.after(stopShare) {
			w.held.fence()
		}
		if !ticks.Sleep(ctx, w.lease.tick()) {
			return
		}
	}
}

// fenceGuard tells the guard how long exclusive tasks may live.
func (w *Worker) fenceGuard() {
	if err := w.guard.Extend(); err != nil && !errors.Is(err, guard.ErrGuardLost) {
		w.log.Error("cannot tell the guard of the lease", "error", err)
	}
}
