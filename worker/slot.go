package worker

import (
	"context"

	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/report"
)

// slot runs one task at a time, in a goroutine of its own.
type slot struct {
	// current is what it runs. The lock of heldTasks guards it.
	current *run
	// command is what it keeps from one command to the next.
	command command.Slot
}

// serveSlot runs tasks until heldTasks is closed.
func (w *Worker) serveSlot(ctx context.Context, s *slot) {
	ended := false
	defer func() {
		if ended {
			w.slotDone <- s
			return
		}
		// The handler ended this goroutine by runtime.Goexit. Its task has failed, and the slot goes
		// on in another goroutine.
		w.finish(s.current, report.Result{Kind: report.Failed, Err: "the handler ended its goroutine (runtime.Goexit)"})
		go w.serveSlot(ctx, s)
	}()
	for {
		if w.out.Full() {
			w.held.free(s)
			w.out.WaitRoom()
		}
		// The run exists before its task is known, so that heldTasks can cancel it from the moment
		// it hands out the task.
		r := newRun(ctx)
		if !w.held.next(s, r) {
			break
		}
		w.finish(r, w.execute(s, r))
	}
	ended = true
}
