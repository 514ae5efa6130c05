package worker

import (
	"context"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

const (
	// patience is how long a task that was fetched in advance waits behind longer tasks before it
	// goes back to the leader; see heldTasks.returnUnreached.
	patience = time.Second
	// looksPerPatience is how often within that time the worker looks for such tasks.
	looksPerPatience = 4
)

// takeRate is how many tasks the slots take within patience.
type takeRate struct {
	// taken is how many tasks slots have ever taken.
	taken uint64
	// looks is what taken was at the last looks; the oldest of them is at oldest.
	looks  [looksPerPatience]uint64
	oldest int
}

// look returns how many tasks were taken since the oldest look, which this look replaces.
func (r *takeRate) look() int {
	n := int(r.taken - r.looks[r.oldest])
	r.looks[r.oldest] = r.taken
	r.oldest = (r.oldest + 1) % len(r.looks)
	return n
}

// returnUnreached returns tasks that wait behind long ones, until ctx ends.
func (w *Worker) returnUnreached(ctx context.Context) {
	for {
		if w.held.waiting() == 0 {
			// Thousands of idle workers may share a machine: none of them wakes in vain.
			select {
			case <-w.tasksCame:
				continue
			case <-ctx.Done():
				return
			}
		}
		if !ticks.Sleep(ctx, patience/looksPerPatience) {
			return
		}
		w.held.returnUnreached(patience)
	}
}

// returnUnreached returns tasks that were fetched in advance in the belief that tasks here are
// short, because another worker may be free. If every slot is busy with a task that has run longer
// than patience, it returns the tasks that have waited longer than patience. If the queue moves, but
// its head has waited longer than patience, it returns those that would wait as long again at the
// pace of the queue.
func (h *heldTasks) returnUnreached(patience time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := monoNow()
	reach := h.rate.look()
	stuck := true
	for _, s := range h.slots {
		if s.current == nil {
			return
		}
		stuck = stuck && now-s.current.started > patience
	}
	if stuck {
		h.returnWaiting(func(a *assignment) bool { return now-a.arrived > patience })
	} else if head := h.ordinary.head(); head != nil && now-head.arrived > patience {
		for _, a := range h.ordinary.keepFirst(reach) {
			h.sendBack(a)
		}
	}
}

// returnWaiting returns those of the tasks that wait that which says.
func (h *heldTasks) returnWaiting(which func(*assignment) bool) {
	for _, q := range []*assignmentQueue{&h.ordinary, &h.exclusive} {
		q.filter(func(a *assignment) bool {
			if !which(a) {
				return true
			}
			if a.work.Exclusive {
				h.exclusives -= a.len()
			}
			h.sendBack(a)
			return false
		})
	}
}

func everyAssignment(*assignment) bool { return true }

// sendBack reports that the tasks of an assignment, which waits no longer, were never started.
func (h *heldTasks) sendBack(a *assignment) {
	h.out.AddRanges(a.grant, []task.Range{a.tasks()}, &report.Result{Kind: report.Returned})
}

// drain returns what waits, and from now on what arrives.
func (h *heldTasks) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
	h.returnWaiting(everyAssignment)
}

// pause returns what waits, and what arrives until resume is called.
func (h *heldTasks) pause() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paused = true
	h.returnWaiting(everyAssignment)
}

func (h *heldTasks) resume() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.paused = false
}
