package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

// runHandler runs a task as a Go function.
func (w *Worker) runHandler(ctx context.Context, r *run) report.Result {
	h, ok := w.cfg.Handlers[r.work.Handler]
	if !ok {
		return report.Result{Kind: report.Failed, Err: report.ErrorText(fmt.Sprintf("this worker has no handler %q", r.work.Handler))}
	}
	if r.work.Exclusive {
		release, err := w.guard.HoldAgent()
		if err != nil {
			return w.unguarded(err)
		}
		defer release()
	}
	output, err := call(ctx, h, &r.task)
	return handlerResult(ctx, output, err)
}

// unguarded is the result of an exclusive task that cannot have a guard.
func (w *Worker) unguarded(err error) report.Result {
	err = fmt.Errorf("an exclusive task needs the guard: %w", err)
	if errors.Is(err, ErrLinuxOnly) {
		// There will never be a guard here. Ordinary tasks go on.
		return report.Result{Kind: report.Failed, Err: report.ErrorText(err.Error())}
	}
	return w.unhealthy(err)
}

// call runs the handler and turns a panic into an error.
func call(ctx context.Context, h Handler, t *Task) (output []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n\n%s", v, debug.Stack())
		}
	}()
	return h(ctx, t)
}

// handlerResult judges what a handler returned. A timeout counts whatever the handler returns: the
// attempt did run longer than the job allows. If the context ended for another cause and the handler
// returns no error, it has done its work.
func handlerResult(ctx context.Context, output []byte, err error) report.Result {
	ended := ctx.Err() != nil
	switch {
	case ended && errors.Is(context.Cause(ctx), ErrTimeout):
		res := endedBy(ctx)
		if len(output) <= task.MaxPayload {
			res.Output = output
		}
		return res
	case err == nil && len(output) > task.MaxPayload:
		return report.Result{Kind: report.FailedForGood, Err: fmt.Sprintf(
			"the result has %d bytes, the limit is %d; put larger data where others can read it", len(output), task.MaxPayload)}
	case err == nil:
		return report.Result{Kind: report.Succeeded, Output: output}
	case ended:
		return endedBy(ctx)
	case isPermanent(err):
		return report.Result{Kind: report.FailedForGood, Err: report.ErrorText(err.Error())}
	default:
		return report.Result{Kind: report.Failed, Err: report.ErrorText(err.Error())}
	}
}
