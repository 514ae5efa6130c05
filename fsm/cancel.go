package fsm

import (
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// cancel ends what waits of a job, or one task of it, at once, and asks for the
// end of what is assigned. A job or task that is final already is a conflict.
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
		m.cancelJob(j, reason, r)
		return
	}
	i := *o.Index
	if i >= j.total {
		r.Err = task.Errorf(task.KindNotFound, "job %d has %d tasks, there is no task %d", j.id, j.total, i)
		return
	}
	s, done := j.slot(i)
	if done || j.stateOf(s).Final() {
		r.Err = task.Errorf(task.KindConflict, "task %d.%d has ended already", j.id, i)
		return
	}
	w := &segmentWriter{m: m, j: j}
	m.touch(j)
	m.cancelTask(j, i, reason, w, r)
	w.close()
	j.advance()
}

// cancelJob cancels every task of j that is not final, and lets none be added.
func (m *Machine) cancelJob(j *job, reason task.Reason, r *Result) {
	m.touch(j)
	if j.cancelReason == 0 {
		j.cancelReason = reason
	}
	j.open, j.hold = false, false
	m.cancelWhere(j, reason, r, func(task.State) bool { return true })
	if j.total == 0 && j.reason == 0 {
		j.reason = reason
	}
}

// cancelWhere cancels the tasks of j whose state passes: whole runs of untouched
// ones in one go, the others one by one.
func (m *Machine) cancelWhere(j *job, reason task.Reason, r *Result, passes func(task.State) bool) {
	w := &segmentWriter{m: m, j: j}
	// Whoever cancels a job cancels all that waits: nothing of it is taken out of line one by one.
	j.returned.clear()
	untouched := passes(j.base())
	for n := range j.pageCount() {
		p, lo := j.page(n), n*pageSize
		hi := min(lo+pageSize, j.total)
		switch {
		case p == donePage || p != nil && p.alike != nil:
		case p == nil && untouched:
			m.endUntouched(j, span{lo, hi}, reason, w, r)
		case p != nil:
			for i := lo; i < hi; i++ {
				s, _ := j.slot(i)
				if state := j.stateOf(s); !state.Final() && passes(state) {
					m.cancelTask(j, i, reason, w, r)
				}
			}
		}
	}
	w.close()
	j.advance()
}

// endedPageBytes is what a page of tasks that were ended together counts for until it is on disk. It
// takes less, but writing it takes as long as a KiB: with all that may wait, about a second.
const endedPageBytes = 1 << 10

// endUntouched cancels a whole page of untouched tasks. It needs no slots: the page
// is done as soon as its segment is on disk.
func (m *Machine) endUntouched(j *job, sp span, reason task.Reason, w *segmentWriter, r *Result) {
	n := sp.hi - sp.lo
	j.counts[j.base()] -= n
	j.counts[task.Cancelled] += n
	w.addUntouched(sp, task.Cancelled, reason)
	j.sum += rangeHash(sp, j.received, task.Cancelled, reason)
	p := &page{alike: &slot{state: task.Cancelled, reason: reason, at: int64(j.received)}, final: int(n), dirty: true}
	j.received += n
	j.setPage(sp.lo/pageSize, p)
	m.dirtyBytes += endedPageBytes
	j.dirtyPages = append(j.dirtyPages, sp.lo/pageSize)
	if j.reason == 0 {
		j.reason = reason
	}
	r.Cancelled += n
}

// cancelTask ends task i, or asks its worker to. Asking again changes nothing.
func (m *Machine) cancelTask(j *job, i uint32, reason task.Reason, w *segmentWriter, r *Result) {
	s := j.touchSlot(i)
	switch j.stateOf(s) {
	case task.Stopping:
		r.Stopping++
	case task.Assigned:
		m.leave(j, i, s, task.Stopping)
		s.reason, s.at = reason, m.clock
		m.enter(j, i, s, task.Stopping)
		if m.observer != nil {
			m.observer.Stopping(s.session, j.id, i, int64(s.token)-int64(i))
		}
		r.Stopping++
	default:
		m.end(j, i, s, task.Cancelled, reason, nil, w, "")
		r.Cancelled++
	}
}

// expire ends what was not started in time, and open jobs that were abandoned. The
// leader names the jobs; whether their time has come is decided here. Jobs of a million tasks
// take a few bytes each to name: what is beyond the bound of an entry is due still, and the
// leader names it again.
func (m *Machine) expire(o *logpb.Expire, r *Result) {
	weight := 0
	for _, id := range o.Jobs {
		j := m.jobs[id]
		if j == nil || j.ended() {
			continue
		}
		if weight += j.weight(); weight > MaxEntryTasks && weight > j.weight() {
			return
		}
		if j.open && j.lastAppend+int64(task.OpenTimeout) <= m.clock {
			m.cancelJob(j, task.ReasonAbandoned, r)
		}
		if j.expireAt > 0 && j.expireAt <= m.clock {
			m.touch(j)
			// A growing job takes no more tasks: they would expire on arrival.
			if j.open {
				m.cancelJob(j, task.ReasonExpired, r)
				continue
			}
			m.cancelWhere(j, task.ReasonExpired, r, func(s task.State) bool { return !s.Held() })
			j.expireAt = 0
		}
	}
}
