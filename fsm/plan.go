package fsm

import (
	"math"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// applyPlan grants what of a plan still fits. Every limit that a grant consumes is
// checked again here, against the state as it is now: a plan made by a deposed
// leader, or from an old view, is harmless.
func (m *Machine) applyPlan(o *logpb.ApplyPlan, r *Result) {
	if r.Err = m.checkPlan(o.Assign); r.Err != nil {
		return
	}
	for _, a := range o.Assign {
		granted := m.assign(a)
		if granted > 0 {
			m.served(m.jobs[a.Job].spec.class.queue)
		}
		r.Granted += granted
		r.Refused += a.Count - granted
	}
	if r.Refused > 0 {
		m.wake = true
	}
}

// assign grants the tasks of a that can be granted to its session now, in runs of
// consecutive indexes of the same attempt, and returns how many.
func (m *Machine) assign(a *logpb.Assign) (granted uint32) {
	s, j := m.sessions[a.Session], m.jobs[a.Job]
	if s == nil || j == nil || j.withheld() || j.notBefore > m.clock {
		return 0
	}
	if needs := needsOf(j.spec.Spec); !s.able.accept(&needs) || needs.exclusive && m.settling(m.clock) {
		return 0
	}
	end := uint32(min(uint64(a.First)+uint64(a.Count), uint64(j.total)))
	for i := a.First; i < end; {
		n, attempt := m.grantRun(s, j, i, end)
		if n == 0 {
			i++
			continue
		}
		granted += n
		m.watchers.tally.countGranted(j, n, attempt, m.clock)
		offset := int64(m.nextToken-uint64(n)) - int64(i)
		if m.observer != nil {
			m.observer.Granted(Grant{Session: s.pb.Id, Job: j.id, First: i, Count: n, TokenOffset: offset, Attempt: attempt})
		}
		i += n
	}
	return granted
}

// grantRun grants tasks from i on until one does not fit or has another attempt.
func (m *Machine) grantRun(s *session, j *job, i, end uint32) (n, attempt uint32) {
	for ; i < end && m.grantable(s, j, i); i++ {
		sl := j.touchSlot(i)
		// It stands still at its highest value: only a task that is handed back again and
		// again, which costs no failure, ever gets there.
		if next := min(uint32(sl.attempt)+1, math.MaxUint16); n == 0 {
			attempt = next
		} else if next != attempt {
			break
		}
		m.leave(j, i, sl, task.Assigned)
		sl.token = m.nextToken
		m.nextToken++
		sl.at = m.clock
		sl.session = s.pb.Id
		sl.attempt = uint16(attempt)
		m.enter(j, i, sl, task.Assigned)
		s.hold(j.id, i)
		j.passed(i)
		n++
	}
	if n > 0 && j.started == 0 {
		j.started = m.clock
	}
	return n, attempt
}

// grantable says whether task i may be granted to s now.
func (m *Machine) grantable(s *session, j *job, i uint32) bool {
	if s.assigned >= s.capacity(j.spec.Exclusive(), m.rules) {
		return false
	}
	held := j.counts.Held()
	if j.spec.MaxParallel > 0 && held >= j.spec.MaxParallel {
		return false
	}
	sl, done := j.slot(i)
	if done {
		return false
	}
	switch {
	case sl == nil || sl.state == 0:
		// Untouched tasks are granted in index order only: that is what lets a
		// million of them be one number.
		if !j.atFrontier(i) {
			return false
		}
	case sl.state == task.Pending:
	case sl.state == task.Scheduled && sl.at <= m.clock:
	default:
		return false
	}
	if j.spec.Serial {
		// One at a time, and none before those with a lower index are final.
		return held == 0 && (!j.beyond(i) || j.live == 0)
	}
	return true
}
