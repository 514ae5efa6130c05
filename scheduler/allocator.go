package scheduler

import (
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

// Allocator decides what the allocation loop does next. It neither proposes nor waits,
// so that a simulation can step it.
type Allocator struct {
	// from is the turn with which the next view begins. After a plan it is the first one: whoever was
	// served least recently comes first to whatever is free by now. After a view with nothing to give,
	// it is the first turn that the view did not show.
	from uint64
	// seed varies what policy random does from plan to plan.
	seed uint64
}

// Expire returns the op that ends what is due at now; nil: nothing is due. next is the moment
// of the next timer; 0: there is none. With an op, next is now: more may be due than one
// entry ends.
func (a *Allocator) Expire(m *fsm.Machine, now int64) (op *logpb.Op, next int64) {
	due, next := m.Due(now, expireBatch)
	if len(due) == 0 {
		return nil, next
	}
	return &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: due}}}, now
}

// Plan returns the op that grants what the next view has for the workers of f. If op is
// nil, idle says that no queue has anything that anybody could take; there may be
// more queues or timers to look at otherwise.
func (a *Allocator) Plan(m *fsm.Machine, f *Fleet, now int64) (op *logpb.Op, idle bool) {
	a.seed++
	v, behind := m.AdvanceAndView(now, a.from, f.Extra)
	plan := Plan(Input{View: v, Runs: f.Runs(), Seed: a.seed})
	if len(plan) == 0 {
		a.from = v.Next
		return nil, v.Next == 0 && !behind
	}
	a.from = 0
	return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: plan}}}, false
}

const (
	// idleLook is how often the allocation loop looks without being woken.
	idleLook = time.Second
	// shortest bounds the wait for the next timer.
	shortest = time.Millisecond
)

// IdleFor is how long the allocation loop sleeps unless the fleet is woken, where the next
// timer is due at next; 0: there is none.
func IdleFor(now, next int64) time.Duration {
	if next <= 0 {
		return idleLook
	}
	return max(shortest, min(idleLook, time.Duration(next-now)))
}
