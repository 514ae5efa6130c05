package fsm

import "github.com/rota-scheduler/rota/fsm/logpb"

// Session is an open session, for those who list them.
type Session struct {
	*logpb.Session
	Assigned uint32
}

// Sessions returns the open sessions, in order of their ids.
func (m *Machine) Sessions() []Session {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]Session, 0, len(m.sessions))
	m.sessionOrder.Scan(func(_ uint64, s *session) bool {
		out = append(out, Session{s.pb, s.assigned})
		return true
	})
	return out
}

// SessionsBehind returns up to limit open sessions of workers whose ids come behind after, in the
// order of these ids: unlike a session's, that of a worker stays when it opens another session.
func (m *Machine) SessionsBehind(after string, limit int) (out []Session) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.byWorker.Ascend(after, func(worker string, s *session) bool {
		if worker != after {
			out = append(out, Session{s.pb, s.assigned})
		}
		return len(out) < limit
	})
	return out
}

// Session returns an open session.
func (m *Machine) Session(id uint64) (Session, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.sessions[id]
	if s == nil {
		return Session{}, false
	}
	return Session{s.pb, s.assigned}, true
}

// SessionOf returns the open session of a worker.
func (m *Machine) SessionOf(worker string) (Session, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, _ := m.byWorker.Get(worker)
	if s == nil {
		return Session{}, false
	}
	return Session{s.pb, s.assigned}, true
}

// Holds calls f with what says whether a session holds a task now. Nothing changes meanwhile.
func (m *Machine) Holds(id uint64, f func(holds func(job uint64, i uint32) bool)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	f(func(job uint64, i uint32) bool {
		j := m.jobs[job]
		if j == nil || i >= j.total {
			return false
		}
		s, _ := j.slot(i)
		return s != nil && s.state.Held() && s.session == id
	})
}

// HeldTask is a run of tasks that a session holds, as Grant would have told.
type HeldTask struct {
	Grant
	Stopping bool
}

// goesOn says whether the next task is one more of the same run.
func (h *HeldTask) goesOn(next HeldTask) bool {
	return h.Count > 0 && h.Job == next.Job && h.First+h.Count == next.First && h.TokenOffset == next.TokenOffset &&
		h.Attempt == next.Attempt && h.Stopping == next.Stopping
}

// Held calls f for what a session holds, with the machine locked for reading: nothing is
// granted or ended meanwhile. The runs are in order of job and index.
func (m *Machine) Held(id uint64, f func(HeldTask)) (ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := m.sessions[id]
	if s == nil {
		return false
	}
	var run HeldTask
	for _, at := range s.heldPages() {
		j := m.jobs[at.job]
		slots := j.page(at.page).slots
		for k := range slots {
			sl := &slots[k]
			if sl.session != id || !sl.state.Held() {
				continue
			}
			i := at.page*pageSize + uint32(k)
			stopped, _ := j.stopped(sl)
			next := HeldTask{
				Grant{Session: id, Job: at.job, First: i, Count: 1, TokenOffset: int64(sl.token) - int64(i), Attempt: uint32(sl.attempt)},
				stopped,
			}
			if run.goesOn(next) {
				run.Count++
				continue
			}
			if run.Count > 0 {
				f(run)
			}
			run = next
		}
	}
	if run.Count > 0 {
		f(run)
	}
	return true
}
