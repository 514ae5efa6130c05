package fsm

import (
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Requests are validated before they are proposed. What is checked here is what an
// op could break if it was not: then it has no effect and an error of its own. The
// checks are part of what the version of the entry means.

const (
	// MaxReported is how many tasks one Report, or one hello, may name: far more than
	// a worker can hold.
	MaxReported = 1 << 16
	// MaxPlanned is how many tasks one plan may name: several times what a leader plans at once.
	MaxPlanned = 1 << 16
	// MaxSessionBytes bounds what all workers offer together, as it is encoded: labels, handlers and
	// queues. A cluster of as many workers as there may be has 3 KiB for each.
	MaxSessionBytes = 64 << 20
	// MaxClock is where the clock of the state machine stands still, in the year 2116:
	// every deadline that is computed from it fits an int64.
	MaxClock = 1 << 62
)

// rangeCheck adds up ranges of indexes.
type rangeCheck struct {
	tasks      int // the most that a job can have
	limit, sum uint64
	bad        bool
}

func (c *rangeCheck) add(first, count uint32) {
	c.sum += uint64(count)
	c.bad = c.bad || uint64(first)+uint64(count) > uint64(c.tasks) || c.sum > c.limit
}

func (c *rangeCheck) ranges(ranges []*logpb.Range) {
	for _, rg := range ranges {
		c.add(rg.First, rg.Count)
	}
}

func (c *rangeCheck) err(what string) error {
	if c.bad {
		return task.Errorf(task.KindInvalid, "%s names tasks beyond %d, the most that a job can have, or more than %d in all", what, c.tasks, c.limit)
	}
	return nil
}

func (m *Machine) checkPlan(assign []*logpb.Assign) error {
	c := rangeCheck{tasks: m.rules.MaxTasks, limit: m.rules.maxPlanned}
	for _, a := range assign {
		c.add(a.First, a.Count)
	}
	return c.err("the plan")
}

func (m *Machine) checkReport(groups []*logpb.ReportGroup) error {
	c := rangeCheck{tasks: m.rules.MaxTasks, limit: m.rules.maxReported}
	for _, g := range groups {
		if g.Outcome != uint32(task.Outcome(g.Outcome)) || !task.Outcome(g.Outcome).Valid() {
			return task.Errorf(task.KindInvalid, "a report on job %d has the unknown outcome %d", g.Job, g.Outcome)
		}
		if err := checkReason(g.Reason); err != nil {
			return err
		}
		c.ranges(g.Ranges)
	}
	return c.err("the report")
}

func checkReason(reason uint32) error {
	if reason != uint32(task.Reason(reason)) || !task.Reason(reason).Valid() {
		return task.Errorf(task.KindInvalid, "unknown reason %d", reason)
	}
	return nil
}

func (m *Machine) checkHello(o *logpb.OpenSession) error {
	s := o.Session
	if s == nil {
		return task.Errorf(task.KindInvalid, "a session without a worker")
	}
	if err := m.rules.ValidName("worker id", s.Worker); err != nil {
		return err
	}
	if s.Slots < 1 || s.Slots > m.rules.MaxSlots {
		return task.Errorf(task.KindInvalid, "worker %s has %d slots: use 1 to %d", s.Worker, s.Slots, m.rules.MaxSlots)
	}
	if err := m.checkHeld("the hello", o.Held); err != nil {
		return err
	}
	return m.checkReport(o.Reports)
}

func (m *Machine) checkHeld(what string, held []*logpb.Held) error {
	c := rangeCheck{tasks: m.rules.MaxTasks, limit: m.rules.maxReported}
	for _, h := range held {
		c.ranges(h.Ranges)
	}
	return c.err(what)
}
