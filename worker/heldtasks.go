package worker

import (
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/command"
	"github.com/rota-scheduler/rota/worker/report"
)

// heldTasks are the tasks that this worker holds: those that wait for a slot, those that run, and
// those whose reports are not answered yet. Every question of the kind "where is this task?" is
// answered here, under one lock.
//
// This file has what comes and goes. How slots take tasks is in taking.go, how tasks end before they
// would by themselves in stopping.go, and how they go back to the leader in returning.go.
type heldTasks struct {
	out *report.Outbox
	// mayStart says whether the lease is long enough for an exclusive task to start now.
	mayStart func() bool
	// onArrival is called when tasks arrive, onExclusive when exclusive tasks do. They must not block.
	onArrival, onExclusive func()

	mu sync.Mutex
	// work wakes slots that wait for a task; waitingSlots is how many do.
	work         *sync.Cond
	waitingSlots int
	slots        []*slot
	// ordinary and exclusive are the tasks that wait for a slot, each in order of arrival. They are
	// two queues because a lease can delay one and not the other. arrivals counts assignments.
	ordinary, exclusive assignmentQueue
	arrivals            uint64
	// attempts are all that are held, from their arrival until their reports are answered.
	attempts attemptSet
	// exclusives is how many exclusive tasks wait or run. givenUp is how many of those that run
	// had to be given up: no other exclusive task may start before they have ended.
	exclusives, givenUp int
	// draining says that nothing new starts, paused that nothing starts for now, and closed that
	// the slots end.
	draining, paused, closed bool
	rate                     takeRate
}

func newHeldTasks(slots int, out *report.Outbox) *heldTasks {
	h := &heldTasks{
		out: out, attempts: newAttemptSet(), slots: make([]*slot, slots),
		mayStart: func() bool { return true }, onArrival: func() {}, onExclusive: func() {},
	}
	h.work = sync.NewCond(&h.mu)
	for i := range h.slots {
		h.slots[i] = &slot{command: command.Slot{Number: i}}
	}
	return h
}

// assign queues what the leader granted, without the tasks that are held already: after a worker
// has attached again, the leader may send everything again.
func (h *heldTasks) assign(assignments []*assignment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := monoNow()
	exclusives := h.exclusives
	tasks := 0
	for _, a := range assignments {
		fresh := h.hold(a.grant, a.tasks())
		if h.draining || h.paused {
			h.out.AddRanges(a.grant, fresh, &report.Result{Kind: report.Returned})
			continue
		}
		for _, r := range fresh {
			tasks += int(r.Count)
			h.queue(a.part(r), now)
		}
	}
	for range min(tasks, h.waitingSlots) {
		h.work.Signal()
	}
	if tasks > 0 {
		h.onArrival()
	}
	if h.exclusives > exclusives {
		h.onExclusive()
	}
}

// hold takes note of tasks of a grant, and returns those that were not held before.
func (h *heldTasks) hold(g report.Grant, r task.Range) (fresh []task.Range) {
	fresh = h.attempts.missing(g, r)
	h.attempts.add(g, r)
	return fresh
}

// queue lets an assignment wait for a slot.
func (h *heldTasks) queue(a *assignment, now time.Duration) {
	a.arrived, a.order = now, h.arrivals
	h.arrivals++
	if a.work.Exclusive {
		h.exclusives += a.len()
		h.exclusive.push(a)
	} else {
		h.ordinary.push(a)
	}
}

// refuse reports a result for tasks that cannot run here, unless they are held already.
func (h *heldTasks) refuse(g report.Grant, r task.Range, res *report.Result) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.AddRanges(g, h.hold(g, r), res)
}

// answered lets go of tasks whose reports were answered, whatever the answer is.
func (h *heldTasks) answered(groups []*rotav1.ReportGroup) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range groups {
		h.attempts.remove(report.Grant{Job: g.GetJobId(), Offset: g.GetTokenOffset()}, g.GetRanges())
	}
}

// maxHeld is more than a leader ever gives to one worker, together with what it gave before and has
// not answered for. A server that goes beyond it is not one of ours. It is less than a Hello may name.
const maxHeld = 3 * (task.MaxSlots + task.MaxOutstanding)

// tooMany says that there are more tasks here than any worker may hold.
func (h *heldTasks) tooMany() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.attempts.count > maxHeld
}

// all is everything that is held, for a Hello.
func (h *heldTasks) all() []*rotav1.HeldTasks {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.attempts.toProto()
}

// waiting is how many tasks wait for a slot.
func (h *heldTasks) waiting() int64 { return h.ordinary.tasks.Load() + h.exclusive.tasks.Load() }

// reserve is how many tasks wait for a slot, and for nothing else.
func (h *heldTasks) reserve() int { return int(h.ordinary.tasks.Load()) }

// exclusivesHeld is how many exclusive tasks wait or run.
func (h *heldTasks) exclusivesHeld() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.exclusives
}
