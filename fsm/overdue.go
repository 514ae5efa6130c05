package fsm

import (
	"fmt"
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Overdue is the tasks that a session holds for longer than an honest worker would.
type Overdue struct {
	Session uint64
	// Slots is how many tasks its worker runs at a time.
	Slots uint32
	Tasks []OverdueTask
}

// OverdueTask is one of these tasks.
type OverdueTask struct {
	Job         uint64
	Index       uint32
	TokenOffset int64
	// Exclusive: no other worker may have the task while this one may still run it. So no op takes it from the
	// session; only the end of the lease does.
	Exclusive bool
	// At is when the task was granted, or asked to stop.
	At int64
	// Timeout is the longest run of an attempt. Stopping says that the task was asked to stop.
	Timeout  time.Duration
	Stopping bool
}

// late says whether a worker should have reported the task in slot s by a time.
func (m *Machine) late(j *job, s *slot, by int64) bool {
	waited := by - s.at - int64(m.rules.ReportMargin)
	switch s.state {
	case task.Stopping:
		return waited >= 0
	case task.Assigned:
		return j.spec.Timeout > 0 && waited >= int64(j.spec.Timeout)
	}
	return false
}

// mayBeLate says whether any task of j can be late.
func (j *job) mayBeLate() bool { return j.spec.Timeout > 0 || j.counts[task.Stopping] > 0 }

// Overdue returns what is overdue at now, session by session, beginning behind the session with the id after. It looks
// at about so many pages of tasks. The next call goes on from next (0: from the first session).
func (m *Machine) Overdue(now int64, after uint64, pages int) (found []Overdue, next uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.sessionOrder.Ascend(after+1, func(id uint64, s *session) bool {
		if pages <= 0 {
			return false
		}
		next = id
		pages -= len(s.held) + 1
		if o := m.overdueOf(s, now); len(o.Tasks) > 0 {
			found = append(found, o)
		}
		return true
	})
	if last, _, ok := m.sessionOrder.Max(); !ok || next >= last {
		next = 0
	}
	return found, next
}

func (m *Machine) overdueOf(s *session, now int64) Overdue {
	o := Overdue{Session: s.pb.Id, Slots: s.slots}
	for _, at := range s.heldPages() {
		j := m.jobs[at.job]
		if !j.mayBeLate() {
			continue
		}
		slots := j.page(at.page).slots
		for k := range slots {
			sl := &slots[k]
			if sl.session != s.pb.Id || !sl.state.Held() || !m.late(j, sl, now) {
				continue
			}
			if len(o.Tasks) == MaxReported {
				return o
			}
			i := at.page*pageSize + uint32(k)
			o.Tasks = append(o.Tasks, OverdueTask{
				Job: j.id, Index: i, TokenOffset: int64(sl.token) - int64(i), Exclusive: j.spec.Exclusive(), At: sl.at,
				Timeout: j.spec.Timeout, Stopping: sl.state == task.Stopping,
			})
		}
	}
	return o
}

// overdue takes tasks from a session that is silent about them. The leader names the tasks; whether they are late is
// decided here.
func (m *Machine) overdue(o *logpb.Overdue, r *Result) {
	if r.Err = m.checkHeld("an end of overdue tasks", o.Held); r.Err != nil {
		return
	}
	s := m.sessions[o.Session]
	if s == nil {
		r.Err = task.Errorf(task.KindNotFound, "there is no session %d", o.Session)
		return
	}
	for _, h := range o.Held {
		j := m.jobs[h.Job]
		if j == nil || j.spec.Exclusive() {
			continue
		}
		w := &segmentWriter{m: m, j: j}
		eachIndex(h.Ranges, func(i uint32) {
			if !m.current(s.pb.Id, j, i, int64(i)+h.TokenOffset) {
				return
			}
			if sl, _ := j.slot(i); m.late(j, sl, m.clock) {
				m.takeOverdue(j, i, s, o.Unstarted, w)
				r.Total++
			}
		})
		w.close()
	}
	m.wake = true
}

// takeOverdue ends the attempt at a task whose worker is silent about it.
func (m *Machine) takeOverdue(j *job, i uint32, holder *session, unstarted bool, w *segmentWriter) {
	s := j.touchSlot(i)
	asked := s.state == task.Stopping
	stopped, why := j.stopped(s)
	m.letGo(j, i, s)
	note := SilentNote(holder.name(), asked, j.spec.Timeout, m.rules.ReportMargin)
	if note != w.note {
		w.close()
		w.note = note
	}
	switch {
	case stopped:
		m.end(j, i, s, task.Cancelled, why, nil, w, holder.name())
	case unstarted:
		m.requeue(j, i, s, func() { s.attempt-- })
	case uint32(s.failures)+1 >= j.spec.MaxAttempts:
		m.end(j, i, s, task.Failed, task.ReasonTimeout, nil, w, holder.name())
	default:
		w.attempt(i, s, task.OutcomeFailed, task.ReasonTimeout, holder.name())
		m.postpone(j, i, s, task.ReasonTimeout, &s.failures)
	}
	if !asked && m.observer != nil {
		m.observer.Stopping(holder.pb.Id, j.id, i, int64(s.token)-int64(i))
	}
}

// SilentNote is the error of a task that was ended because its worker said nothing about it for margin longer than it
// was allowed to.
func SilentNote(worker string, stopping bool, timeout, margin time.Duration) string {
	if stopping {
		return fmt.Sprintf("worker %s was asked to stop it and did not say within %v that it has: it may still run there", worker, margin)
	}
	return fmt.Sprintf("worker %s did not report it within its timeout of %v and %v more: it may still run there", worker, timeout, margin)
}
