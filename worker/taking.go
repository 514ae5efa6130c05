package worker

import (
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

// next ends what the slot ran, and waits for the slot's next task, with which it fills r. It returns
// false when the worker ends.
func (h *heldTasks) next(s *slot, r *run) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retire(s)
	for !h.closed {
		if q := h.pick(); q != nil {
			q.take(r)
			h.rate.taken++
			r.started = monoNow()
			s.current = r
			return true
		}
		h.waitingSlots++
		h.work.Wait()
		h.waitingSlots--
	}
	return false
}

// free ends what the slot ran, when the slot does not take another task at once.
func (h *heldTasks) free(s *slot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retire(s)
}

func (h *heldTasks) retire(s *slot) {
	r := s.current
	if r == nil {
		return
	}
	s.current = nil
	if !r.work.Exclusive {
		return
	}
	h.exclusives--
	if r.givenUp {
		h.givenUp--
		if h.givenUp == 0 {
			h.work.Broadcast()
		}
	}
}

// pick returns the queue whose first task is to start next; nil: none may start.
func (h *heldTasks) pick() *assignmentQueue {
	ordinary, exclusive := h.ordinary.head(), h.exclusive.head()
	if exclusive != nil && (ordinary == nil || exclusive.order < ordinary.order) && h.givenUp == 0 && h.mayStart() {
		return &h.exclusive
	}
	if ordinary != nil {
		return &h.ordinary
	}
	return nil
}

// recheck wakes the slots to try again: the lease was renewed.
func (h *heldTasks) recheck() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.exclusive.head() != nil {
		h.work.Broadcast()
	}
}

// close ends the slots as they become free.
func (h *heldTasks) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.work.Broadcast()
}

// runs is how many tasks run, and how many of them are exclusive.
func (h *heldTasks) runs() (all, exclusive int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.slots {
		if s.current != nil {
			all++
			if s.current.work.Exclusive {
				exclusive++
			}
		}
	}
	return all, exclusive
}

// running is what the slots run now, for a Beat.
func (h *heldTasks) running() []*rotav1.RunningTask {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*rotav1.RunningTask
	now := monoNow()
	for _, s := range h.slots {
		if r := s.current; r != nil {
			out = append(out, &rotav1.RunningTask{
				JobId: r.task.Job, Index: r.task.Index, RunTime: durationpb.New(now - r.started),
			})
		}
	}
	return out
}
