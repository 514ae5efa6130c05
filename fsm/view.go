package fsm

import (
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Bounds of a view: enough for the largest plan, whatever the backlog.
const (
	maxViewClasses    = 256
	maxViewJobs       = 2048 // a class
	maxViewTasks      = 4096 // a class, the last of its jobs beyond it
	maxViewTotalTasks = 16384
	maxViewJobTasks   = 1 << 20
	maxViewRanges     = 64 // a job
)

// View is what the scheduler sees: part of what can be granted, and who could
// take it. It shares nothing that changes with the machine.
type View struct {
	// Now is the time it holds at, Unix ns of the state machine's clock.
	Now     int64
	Classes []ClassView
	// Sessions is in order of their ids.
	Sessions []SessionView
	// Next is the class at which the next view should begin; "": the first.
	Next string
}

// ClassView is ready jobs that can run in the same places.
type ClassView struct {
	Key     string
	Queue   string
	Handler string // "" for commands
	Require []task.Pair
	Jobs    []JobView
}

// JobView is a job with tasks that can be granted now.
type JobView struct {
	ID        uint64
	Policy    task.Policy
	Exclusive bool
	// Light says that its tasks take next to nothing of the memory of who holds them: they
	// have no payloads of their own, and what they share is small.
	Light bool
	// Budget is how many of the tasks may be granted.
	Budget uint32
	// Ranges is the tasks, in the order in which they should be granted.
	Ranges []Range
}

// Range is the indexes First to First+Count-1.
type Range struct{ First, Count uint32 }

// SessionView is a worker that can be given tasks.
type SessionView struct {
	ID       uint64
	Slots    uint32
	Assigned uint32
	// Accepts, by place in View.Classes, says whether it can run the class. Sessions that are
	// alike share it.
	Accepts []bool
}

// View returns a bounded view at now, with classes from the given one on and around.
func (m *Machine) View(now int64, from string) *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fireTimers(now)
	v := &View{Now: now}
	total := 0
	add := func(key string, c *class) bool {
		if len(v.Classes) == maxViewClasses || total >= maxViewTotalTasks {
			v.Next = key
			return false
		}
		if c.ready.Len() > 0 {
			cv, tasks := c.view()
			v.Classes = append(v.Classes, cv)
			total += tasks
		}
		return true
	}
	m.classOrder.Ascend(from, add)
	if from != "" && v.Next == "" {
		m.classOrder.Scan(func(key string, c *class) bool { return key < from && add(key, c) })
	}
	m.viewSessions(v)
	return v
}

// viewSessions adds all sessions to a view that has its classes. There may be thousands, and
// a leader that is busy takes a hundred views a second.
func (m *Machine) viewSessions(v *View) {
	specs := make([]*task.Spec, len(v.Classes))
	for i := range v.Classes {
		c := &v.Classes[i]
		specs[i] = &task.Spec{Queue: c.Queue, Handler: c.Handler, Require: c.Require}
	}
	v.Sessions = make([]SessionView, 0, len(m.sessions))
	accepts := make(map[*abilities][]bool, len(m.abilities))
	var able *abilities // of the session before: most are like their neighbours
	var own []bool
	m.sessionOrder.Scan(func(id uint64, s *session) bool {
		if s.able != able {
			able = s.able
			if own = accepts[able]; own == nil {
				own = able.acceptEach(specs)
				accepts[able] = own
			}
		}
		v.Sessions = append(v.Sessions, SessionView{ID: id, Slots: s.slots, Assigned: s.assigned, Accepts: own})
		return true
	})
}

func (c *class) view() (v ClassView, tasks int) {
	v = ClassView{Key: c.key, Queue: c.queue, Handler: c.handler, Require: c.require}
	c.ready.Scan(func(p place) bool {
		if len(v.Jobs) == maxViewJobs || tasks >= maxViewTasks {
			return false
		}
		jv := p.job.view(maxViewJobTasks)
		tasks += int(jv.Budget)
		v.Jobs = append(v.Jobs, jv)
		return true
	})
	return v, min(tasks, maxViewTasks)
}

// maxLightSpec is how large the spec of a job may be, payload and all, whose tasks are light, bytes.
const maxLightSpec = 1024

func (j *job) view(limit int) JobView {
	left := min(j.available(), uint32(limit))
	v := JobView{ID: j.id, Policy: j.spec.Policy, Exclusive: j.spec.Exclusive(), Light: !j.ownPayloads && j.spec.size <= maxLightSpec}
	for _, sp := range j.returned {
		n := min(sp.hi-sp.lo, left-v.Budget)
		if n == 0 || len(v.Ranges) == maxViewRanges {
			return v
		}
		v.Ranges = append(v.Ranges, Range{sp.lo, n})
		v.Budget += n
	}
	if n := min(j.total-j.next, left-v.Budget); n > 0 {
		v.Ranges = append(v.Ranges, Range{j.next, n})
		v.Budget += n
	}
	return v
}

// Candidates returns up to limit sessions that can run tasks of a spec, in no order. There are
// none where jobs of the same class wait in line already: a new one must not pass them.
func (m *Machine) Candidates(spec *task.Spec, limit int) (out []SessionView) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if c := m.classes[classKey(spec)]; c != nil && c.ready.Len() > 0 {
		return nil
	}
	// Any of them will do: the order of a map decides nothing that is replicated.
	for id, s := range m.sessions {
		if len(out) == limit {
			break
		}
		if s.able.accept(spec) {
			out = append(out, SessionView{ID: id, Slots: s.slots, Assigned: s.assigned})
		}
	}
	return out
}

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

// Held calls f for what a session holds, with the machine locked: nothing is
// granted or ended meanwhile. The runs are in order of job and index.
func (m *Machine) Held(id uint64, f func(HeldTask)) (ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[id]
	if s == nil {
		return false
	}
	var run HeldTask
	for _, at := range s.heldPages() {
		slots := m.jobs[at.job].pages[at.page].slots
		for k := range slots {
			sl := &slots[k]
			if sl.session != id || !sl.state.Held() {
				continue
			}
			i := at.page*pageSize + uint32(k)
			next := HeldTask{
				Grant{Session: id, Job: at.job, First: i, Count: 1, TokenOffset: int64(sl.token) - int64(i), Attempt: uint32(sl.attempt)},
				sl.state == task.Stopping,
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
