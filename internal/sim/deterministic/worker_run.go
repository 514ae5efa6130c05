package deterministic

import (
	"slices"
	"time"

	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/task"
)

// attempt is one attempt at a task, from its grant until its report is answered.
type attempt struct {
	sim.AttemptKey
	exclusive bool
	state     attemptState
	outcome   task.Outcome
	reason    task.Reason
	permanent bool
	// silent: nothing is to be reported, the task is another worker's.
	silent bool
	ending bool
	// endless: it runs until it is told to end.
	endless bool
	// began and ended are when it ran; over says that it runs no more.
	began, ended time.Duration
	over         bool
	reportedOn   *link
}

type attemptState int

const (
	waiting attemptState = iota
	runs
	ended
)

// granted takes a task, unless it has it: after a new attach everything is sent again.
func (p *process) granted(a *attempt) {
	if p.attempts[a.AttemptKey] != nil || p.mute[a.AttemptKey] {
		return
	}
	p.w.ledger.Sent(a.AttemptKey)
	p.attempts[a.AttemptKey] = a
	p.order = append(p.order, a)
	if p.leaving {
		p.finish(a, task.OutcomeReturned, 0)
		return
	}
	if a.exclusive && p.link != nil {
		p.beatNow(p.link) // its lease counts from a beat that was sent for it
	}
	p.startMore()
}

// stop ends an attempt at the leader's wish, or confirms that it is not here.
func (p *process) stop(k sim.AttemptKey) {
	a := p.attempts[k]
	switch {
	case p.mute[k]:
	case a == nil:
		a = &attempt{AttemptKey: k}
		p.attempts[k] = a
		p.order = append(p.order, a)
		p.finish(a, task.OutcomeStopped, 0)
	case a.state == waiting:
		p.finish(a, task.OutcomeReturned, 0)
	case a.state == runs && !a.over:
		// It takes a moment to end.
		p.later(p.w.between(0, 300*time.Millisecond), func() { p.cut(a, task.OutcomeStopped) })
	}
}

// drop ends an attempt that is no longer this session's, without a report.
func (p *process) drop(a *attempt) {
	a.silent = true
	if a.state == waiting {
		p.finish(a, task.OutcomeReturned, 0)
		return
	}
	if a.exclusive && !a.ending {
		a.ending = true
		p.ending++
	}
	p.later(p.w.between(0, 300*time.Millisecond), func() { p.cut(a, task.OutcomeStopped) })
}

// cut ends an attempt that runs.
func (p *process) cut(a *attempt, o task.Outcome) {
	if a.state != runs || a.over {
		return
	}
	p.physicalEnd(a)
	p.finish(a, o, 0)
	p.startMore()
}

// physicalEnd is when the process of an attempt ends, whatever its agent knows of it.
func (p *process) physicalEnd(a *attempt) {
	if a.state != runs || a.over {
		return
	}
	a.over, a.ended = true, p.w.now
	if a.exclusive {
		p.w.ledger.ran(a, p.wk.id)
	}
}

// finish makes an attempt ready to be reported.
func (p *process) finish(a *attempt, o task.Outcome, reason task.Reason) {
	if a.state == runs {
		p.running--
		if a.ending {
			p.ending--
		}
	} else {
		a.began, a.ended = p.w.now, p.w.now
	}
	a.state, a.outcome, a.reason = ended, o, reason
	if a.silent {
		delete(p.attempts, a.AttemptKey)
		p.order = slices.DeleteFunc(p.order, func(b *attempt) bool { return a == b })
		return
	}
	p.reportSoon()
}

// startMore starts what waits, as far as there are slots and lease.
func (p *process) startMore() {
	for _, a := range p.order {
		if p.running >= p.wk.slots {
			return
		}
		if a.state != waiting || a.exclusive && (!p.haveLease || p.ending > 0 || p.w.now >= p.renewed+startShare) {
			continue
		}
		p.start(a)
	}
}

// start runs an attempt. How long it takes and how it ends is decided here.
func (p *process) start(a *attempt) {
	a.state, a.began = runs, p.w.now
	p.running++
	d := p.w.between(time.Millisecond, time.Millisecond+p.w.nature.extra)
	if !p.w.healed && p.w.chance(3) {
		d = p.w.between(0, 2*lease)
	}
	outcome, reason := task.OutcomeSucceeded, task.NoReason
	switch n := p.w.below(100); {
	case n < 3:
		outcome, reason = task.OutcomeFailed, task.ReasonExitCode
		a.permanent = true
	case n < 12:
		outcome, reason = task.OutcomeFailed, task.ReasonError
	case n < 15 && !p.w.healed:
		outcome = task.OutcomeStopped
	case n < 17 && !p.w.healed:
		outcome = task.OutcomeLost
	}
	p.w.tracef("%s runs %v under %d", p.wk.id, a.ID, a.Token)
	if a.endless = !p.w.healed && p.w.chance(1); !a.endless {
		p.w.after(d, func() { p.end(a, outcome, reason) })
	}
	if a.exclusive {
		p.guard(a)
	}
}

// end is the end of an attempt in its own time.
func (p *process) end(a *attempt, outcome task.Outcome, reason task.Reason) {
	if p.dead || a.over {
		return
	}
	p.physicalEnd(a)
	if p.w.nature.poison && a.Job%8 == 3 && a.Index == 0 {
		// The task ends its agent, wherever it runs. A goodbye before that is no loss.
		if p.link != nil && !p.leaving && p.w.chance(50) {
			p.link.lastWords()
		}
		p.wk.die(false)
		p.w.after(p.w.between(0, lease), p.wk.start)
		return
	}
	p.agent(func() {
		if job := p.w.model.Jobs[a.Job]; job != nil && job.Spec.Timeout > 0 && !p.w.healed && p.w.chance(3) {
			p.forget(a)
		} else {
			p.finish(a, outcome, reason)
		}
		p.startMore()
	})
}

// forget is what a broken worker does with an attempt: it never says anything of it.
func (p *process) forget(a *attempt) {
	p.w.tracef("%s forgets %v under %d", p.wk.id, a.ID, a.Token)
	p.mute[a.AttemptKey], a.silent = true, true
	p.finish(a, task.OutcomeLost, 0)
}

// guard kills an exclusive attempt when the lease that its agent knows of is about to end,
// also where the agent is paused.
func (p *process) guard(a *attempt) {
	if p.dead || a.over {
		return
	}
	if left := p.renewed + killShare - p.w.now; left > 0 {
		p.w.after(left, func() { p.guard(a) })
		return
	}
	p.w.tracef("%s: the guard kills %v", p.wk.id, a.ID)
	p.physicalEnd(a)
	p.agent(func() {
		p.finish(a, task.OutcomeStopped, 0)
		p.startMore()
	})
}
