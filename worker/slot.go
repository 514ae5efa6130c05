package worker

import (
	"context"
	"errors"
	"strings"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/command"
)

// slot runs one task at a time, in a goroutine of its own.
type slot struct {
	// current is what it runs. The board's lock guards it.
	current *run
	// command is what it keeps from one command to the next.
	command command.Slot
}

// serveSlot runs tasks until the board is closed.
func (w *Worker) serveSlot(ctx context.Context, s *slot) {
	ended := false
	defer func() {
		if ended {
			w.slotDone <- s
			return
		}
		// The handler ended this goroutine by runtime.Goexit. Its task has failed and
		// the slot goes on in another one.
		w.finish(s.current, result{kind: failed, err: "the handler ended its goroutine (runtime.Goexit)"})
		go w.serveSlot(ctx, s)
	}()
	for {
		if w.out.full() {
			w.board.free(s)
			w.out.waitRoom()
		}
		// The run is made before it is known what it is for, so that the board can
		// cancel it from the moment it hands out the task.
		r := newRun(ctx)
		if !w.board.next(s, r) {
			break
		}
		w.finish(r, w.execute(s, r))
	}
	ended = true
}

func (w *Worker) finish(r *run, res result) {
	r.ctx.cancel(nil)
	if r.silent.Load() {
		return
	}
	res.runTime = monoNow() - r.started
	// The next task of a serial job begins when this one is recorded; a cancel is
	// over when it is confirmed.
	w.out.add(r.key, r.task.Index, &res, r.work.Exclusive || res.outcome == rotav1.Outcome_OUTCOME_STOPPED)
}

func (w *Worker) execute(s *slot, r *run) result {
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

// failed is the kind of an attempt that may be tried again.
var failed = kind{outcome: rotav1.Outcome_OUTCOME_FAILED, reason: rotav1.Reason_REASON_ERROR}

// failedForGood is the kind of an attempt that must not be tried again.
var failedForGood = kind{outcome: rotav1.Outcome_OUTCOME_FAILED, reason: rotav1.Reason_REASON_ERROR, permanent: true}

// endedBy is the result of a task that ended because its context did.
func endedBy(ctx context.Context) result {
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrTimeout) {
		return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_FAILED, reason: rotav1.Reason_REASON_TIMEOUT}, err: ErrTimeout.Error()}
	}
	return result{kind: kind{outcome: rotav1.Outcome_OUTCOME_STOPPED}}
}

// errorText makes a text fit for a report: bounded, and valid UTF-8, without which
// the whole message could not be sent. What is not is shown as an escape.
func errorText(text string) string {
	const more = " ..."
	text = task.Legible(text)
	if len(text) > task.MaxError {
		text = strings.ToValidUTF8(text[:task.MaxError-len(more)], "") + more
	}
	return text
}
