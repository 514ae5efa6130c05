package worker

import (
	"errors"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

// stop ends tasks because the leader wants it. It reports those that wait as stopped at once, and
// tells those that run to end. A task that is not here cannot run here, so stop confirms it as well.
// Until the confirmation is answered that task counts as held, so that an assignment of it that
// arrives late does not start it.
func (h *heldTasks) stop(tasks []*rotav1.HeldTasks) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, named := range tasks {
		g, wanted := tasksOf(named)
		if wanted.Empty() {
			continue // it names nothing that could be here
		}
		gone := h.unqueue(g, wanted)
		h.cancelRuns(g, wanted, ErrStopped)
		for r := range wanted.All() {
			gone = append(gone, h.hold(g, r)...)
		}
		h.out.AddRanges(g, gone, &report.Result{Kind: report.Stopped})
	}
}

// drop ends tasks that no longer belong to this session, without a report.
func (h *heldTasks) drop(tasks []*rotav1.HeldTasks) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, named := range tasks {
		g, wanted := tasksOf(named)
		h.unqueue(g, wanted)
		h.cancelRuns(g, wanted, ErrDropped)
		h.attempts.remove(g, named.GetRanges())
	}
}

// unqueue takes the wanted tasks out of the queues, and returns which ones were there.
func (h *heldTasks) unqueue(g report.Grant, wanted *task.RangeSet) []task.Range {
	gone := h.ordinary.remove(g, wanted)
	exclusive := h.exclusive.remove(g, wanted)
	for _, r := range exclusive {
		h.exclusives -= int(r.Count)
	}
	return append(gone, exclusive...)
}

func (h *heldTasks) cancelRuns(g report.Grant, wanted *task.RangeSet, cause error) {
	for _, s := range h.slots {
		if r := s.current; r != nil && r.grant == g && wanted.Has(r.task.Index) {
			h.cancelRun(r, cause)
		}
	}
}

// cancelRun ends the context of a run.
func (h *heldTasks) cancelRun(r *run, cause error) {
	if errors.Is(cause, ErrDropped) {
		r.silent.Store(true)
	}
	// A task that a user stops keeps its place on the servers until this worker confirms, so nothing
	// can overlap with it. A task that was dropped, or whose lease ends, may have a next attempt,
	// perhaps on this worker.
	if r.work.Exclusive && !r.givenUp && !errors.Is(cause, ErrStopped) {
		r.givenUp = true
		h.givenUp++
	}
	r.ctx.cancel(cause)
}

// fence ends the exclusive tasks that run, because their lease is about to end.
func (h *heldTasks) fence() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.slots {
		if r := s.current; r != nil && r.work.Exclusive {
			h.cancelRun(r, ErrLease)
		}
	}
}

// cancelAll ends everything that runs.
func (h *heldTasks) cancelAll(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.slots {
		if r := s.current; r != nil {
			h.cancelRun(r, cause)
		}
	}
}
