package fsm

import (
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// cancel cancels a job, or one task of it: what waits ends at once, and workers are asked to stop what is
// assigned. If the job or task has ended already, that is a conflict. If a job has more tasks than one entry may
// go through, later entries do the rest: see sweep.
func (m *Machine) cancel(o *logpb.Cancel, r *Result) {
	if r.Err = checkReason(o.Reason); r.Err != nil {
		return
	}
	if o.Reason == 0 {
		r.Err = task.Errorf(task.KindInvalid, "a cancel without a reason")
		return
	}
	j := m.jobs[o.Job]
	switch {
	case j == nil:
		r.Err = m.gone(o.Job)
		return
	case j.ended():
		r.Err = task.Errorf(task.KindConflict, "job %d has ended already", o.Job)
		return
	}
	r.Job = j.id
	reason := task.Reason(o.Reason)
	if o.Index == nil {
		budget := m.sweepBudget(o.Step)
		m.cancelJob(j, reason, r)
		m.sweep(j, &budget)
		return
	}
	i := *o.Index
	if i >= j.total {
		r.Err = task.Errorf(task.KindNotFound, "job %d has no task %d (tasks: %d, counted from 0)", j.id, i, j.total)
		return
	}
	s, done := j.slot(i)
	if done || j.stateOf(s).Final() {
		r.Err = task.Errorf(task.KindConflict, "task %d.%d has ended already", j.id, i)
		return
	}
	if j.stateOf(s).Held() {
		r.Stopping = 1
	} else {
		r.Cancelled = 1
	}
	if j.stateOf(s) != task.Stopping {
		m.tellCancelling(j, reason, o.Index)
	}
	w := &segmentWriter{m: m, j: j}
	m.touch(j)
	m.cancelTask(j, i, reason, w)
	w.close()
	j.skipped(i)
}

// cancelJob begins to cancel all tasks of j that have not ended, and closes it. To cancel it
// again changes nothing.
func (m *Machine) cancelJob(j *job, reason task.Reason, r *Result) {
	r.Cancelled += j.counts.Waiting()
	r.Stopping += j.counts.Held()
	if j.cancelReason != 0 {
		return
	}
	m.tellCancelling(j, reason, nil)
	m.beginSweep(j)
	j.cancelReason = reason
	j.open, j.hold = false, false
	if j.total == 0 && j.reason == 0 {
		j.reason = reason
	}
}

// cancelTask ends task i, or asks its worker to. Asking again changes nothing.
func (m *Machine) cancelTask(j *job, i uint32, reason task.Reason, w *segmentWriter) {
	s := j.touchSlot(i)
	switch j.stateOf(s) {
	case task.Stopping:
	case task.Assigned:
		m.leave(j, i, s, task.Stopping)
		s.reason, s.at = reason, m.clock
		m.enter(j, i, s, task.Stopping)
		if m.observer != nil {
			m.observer.Stopping(s.session, j.id, i, int64(s.token)-int64(i))
		}
	default:
		m.end(j, i, s, task.Cancelled, reason, nil, w, "")
	}
}

// stopped says whether a task that is held was asked to stop, and why. All tasks of a cancelled job were, also
// those that the sweep has not reached.
func (j *job) stopped(s *slot) (bool, task.Reason) {
	if s.state == task.Stopping {
		return true, s.reason
	}
	return j.cancelReason != 0, j.cancelReason
}

// expire ends tasks that were not started in time and open jobs that were abandoned, and goes on with sweeps. The
// leader names the jobs; whether their time has come is decided here. What one entry does not reach is
// still due, and the leader names it again.
func (m *Machine) expire(o *logpb.Expire, r *Result) {
	budget := m.sweepBudget(o.Step)
	for _, id := range o.Jobs {
		if budget <= 0 {
			return
		}
		if j := m.jobs[id]; j != nil && !j.ended() {
			m.expireJob(j, r)
			m.sweep(j, &budget)
		}
	}
}

// expireJob begins to end j if its time has come.
func (m *Machine) expireJob(j *job, r *Result) {
	if j.open && j.lastAppend+int64(m.rules.OpenTimeout) <= m.clock {
		m.cancelJob(j, task.ReasonAbandoned, r)
	}
	switch {
	case j.expireAt == 0 || j.expireAt > m.clock:
	case j.open:
		// A growing job takes no more tasks: they would expire on arrival.
		m.cancelJob(j, task.ReasonExpired, r)
	default:
		if j.cancelReason == 0 {
			r.Cancelled += j.counts.Waiting()
			m.tellCancelling(j, task.ReasonExpired, nil)
			m.beginSweep(j)
		}
		m.touch(j)
		j.expireAt = 0
	}
	// The rules may have changed since it was set: the leader must not name the job again for nothing.
	m.updateDeadline(j)
}
