package sim

import (
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Late says whether the worker of a task should have reported it by a time.
func (j *Job) Late(t *Task, by int64) bool {
	switch t.State {
	case task.Stopping:
		return by >= t.Since+int64(task.ReportMargin)
	case task.Assigned:
		return j.Spec.Timeout > 0 && by >= t.Since+int64(j.Spec.Timeout)+int64(task.ReportMargin)
	}
	return false
}

func (m *Model) overdue(o *logpb.Overdue, r *fsm.Result) {
	if badHeld(o.Held) {
		refuse(r, task.KindInvalid)
		return
	}
	s := m.Sessions[o.Session]
	if s == nil {
		refuse(r, task.KindNotFound)
		return
	}
	for _, h := range o.Held {
		for _, rg := range h.Ranges {
			for i := rg.First; i < rg.First+rg.Count; i++ {
				t := m.current(s.Id, h.Job, i, uint64(int64(i)+h.TokenOffset))
				if t == nil {
					continue
				}
				j := m.Jobs[h.Job]
				if j.Spec.Exclusive() || !j.Late(t, m.Clock) {
					m.saw("overdue too early")
					continue
				}
				r.Total++
				m.takeOverdue(j, i, s, o.Unstarted)
			}
		}
	}
}

func (m *Model) takeOverdue(j *Job, i uint32, s *Session, unstarted bool) {
	t := j.Tasks[i]
	token := t.Token
	asked := t.State == task.Stopping
	stopped, why := asked, t.Reason
	if !asked && j.CancelReason != 0 {
		m.saw("overdue before the sweep")
		stopped, why = true, j.CancelReason
	}
	note := fsm.SilentNote(s.workerName(), asked, j.Spec.Timeout, m.rules.ReportMargin)
	switch {
	case stopped:
		m.saw("overdue to cancelled")
		m.end(j, i, task.Cancelled, why, s.workerName(), nil)
		t.Error = note
	case unstarted:
		m.saw("overdue and not started")
		t.State, t.Session = task.Pending, 0
		t.Attempt--
	case t.Failures+1 >= j.Spec.MaxAttempts:
		m.saw("overdue to failed")
		m.end(j, i, task.Failed, task.ReasonTimeout, s.workerName(), nil)
		t.Error = note
	default:
		m.saw("overdue to scheduled")
		m.tried(t, task.OutcomeFailed, task.ReasonTimeout, s.workerName(), nil)
		t.Tried[len(t.Tried)-1].Error = note
		t.Failures++
		m.postpone(j, i, task.ReasonTimeout, t.Failures)
	}
	if asked {
		return
	}
	m.Events = append(m.Events, Event{Kind: StoppingEvent, Session: s.Id, Job: j.ID, Index: i, Token: token})
}
