package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// runHandler runs a task as a Go function.
func (w *Worker) runHandler(ctx context.Context, r *run) result {
	h, ok := w.cfg.Handlers[r.work.Handler]
	if !ok {
		return result{kind: failed, err: errorText(fmt.Sprintf("this worker has no handler %q", r.work.Handler))}
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
func (w *Worker) unguarded(err error) result {
	err = fmt.Errorf("an exclusive task needs the guard: %w", err)
	if errors.Is(err, ErrLinuxOnly) {
		// It will never have one here. What is ordinary goes on.
		return result{kind: failed, err: errorText(err.Error())}
	}
	return w.giveBack(err)
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

// handlerResult judges what a handler returned. A timeout counts whatever the
// handler made of it: the attempt did run longer than the job allows. After any
// other end of the context a handler that returns no error has done its work.
func handlerResult(ctx context.Context, output []byte, err error) result {
	ended := ctx.Err() != nil
	switch {
	case ended && errors.Is(context.Cause(ctx), ErrTimeout):
		res := endedBy(ctx)
		if len(output) <= task.MaxPayload {
			res.output = output
		}
		return res
	case err == nil && len(output) > task.MaxPayload:
		return result{kind: failedForGood, err: fmt.Sprintf(
			"the result has %d bytes, the limit is %d; put larger data where others can read it", len(output), task.MaxPayload)}
	case err == nil:
		return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}, output: output}
	case ended:
		return endedBy(ctx)
	case isPermanent(err):
		return result{kind: failedForGood, err: errorText(err.Error())}
	default:
		return result{kind: failed, err: errorText(err.Error())}
	}
}
