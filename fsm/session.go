package fsm

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// session is a worker's registration and what it holds.
type session struct {
	pb *logpb.Session
	// What a view reads stands together, in one cache line: the slots, how many tasks the session holds, and
	// what it can run.
	slots, assigned uint32
	able            *abilities
	sessionDerived
	// held counts its tasks by page. So a lost worker, or the answer to a beat, costs a look at these pages
	// only, however large their jobs are.
	held map[pageRef]*uint32
	// last is the count that was used last, that of lastAt: most tasks are granted or reported together with
	// their neighbours.
	lastAt pageRef
	last   *uint32
}

// pageRef names a page of a job.
type pageRef struct {
	job  uint64
	page uint32
}

// addSession adds a session that has just been opened or loaded.
func (m *Machine) addSession(pb *logpb.Session) *session {
	s := &session{pb: pb, slots: pb.Slots, held: map[pageRef]*uint32{}}
	m.sessionBytes += proto.Size(pb)
	s.able = m.abilitiesOf(pb)
	m.join(s)
	m.sessions[pb.Id] = s
	m.byWorker.Set(pb.Worker, s)
	m.sessionOrder.Set(pb.Id, s)
	return s
}

// removeSession removes a session that has ended.
func (m *Machine) removeSession(s *session) {
	delete(m.sessions, s.pb.Id)
	m.sessionBytes -= proto.Size(s.pb)
	m.sessionOrder.Delete(s.pb.Id)
	m.part(s)
	m.dropAbilities(s.able)
	if current, _ := m.byWorker.Get(s.pb.Worker); current == s {
		m.byWorker.Delete(s.pb.Worker)
	}
}

// name is how results name the worker.
func (s *session) name() string {
	if s.pb.Name != "" {
		return s.pb.Name
	}
	return s.pb.Worker
}

// hold notes that the session now holds task i of a job.
func (s *session) hold(job uint64, i uint32) {
	if s.assigned++; s.assigned == s.slots {
		s.able.taken(s)
	}
	*s.count(pageRef{job, i / pageSize})++
}

// release notes that the session no longer holds task i of a job.
func (s *session) release(job uint64, i uint32) {
	if s.assigned--; s.assigned+1 == s.slots {
		s.able.freed(s)
	}
	at := pageRef{job, i / pageSize}
	n := s.count(at)
	if *n--; *n == 0 {
		delete(s.held, at)
		s.last = nil
	}
}

// count returns the count of a page's tasks that the session holds, for the caller to change.
func (s *session) count(at pageRef) *uint32 {
	if s.last == nil || s.lastAt != at {
		n := s.held[at]
		if n == nil {
			n = new(uint32)
			s.held[at] = n
		}
		s.lastAt, s.last = at, n
	}
	return s.last
}

// heldPages returns the pages with tasks that the session holds, in order.
func (s *session) heldPages() []pageRef {
	refs := make([]pageRef, 0, len(s.held))
	for at := range s.held {
		refs = append(refs, at)
	}
	slices.SortFunc(refs, func(a, b pageRef) int { return cmp.Or(cmp.Compare(a.job, b.job), cmp.Compare(a.page, b.page)) })
	return refs
}

// capacity is how many tasks the session may hold. Exclusive tasks never wait at a worker: there they would
// delay others while the worker's lease runs.
func (s *session) capacity(exclusive bool, r *rules) uint32 {
	if exclusive {
		return s.pb.Slots
	}
	return s.pb.Slots + r.MaxOutstanding
}

// openSession registers a worker. First it applies the worker's reports. Then it moves the tasks that the worker still
// holds to the new session, puts the other tasks of the old session back in line, and ends the old session. Only a
// worker that knows the nonce of the old session may replace it: session ids count up, and are no secret.
func (m *Machine) openSession(o *logpb.OpenSession, r *Result) {
	if r.Err = m.checkHello(o); r.Err != nil {
		return
	}
	pb := o.Session
	old, _ := m.byWorker.Get(pb.Worker)
	switch {
	case old != nil && slices.Equal(old.pb.Nonce, pb.Nonce):
		// The answer to the first hello was lost.
		r.Session, r.Existed = old.pb.Id, true
		return
	case old != nil && (old.pb.Id != o.Replaces || !slices.Equal(old.pb.Nonce, o.ReplacesNonce)):
		r.Err = task.Errorf(task.KindConflict, "worker %s has an open session (%d) of another process: end that process, or wait for its lease, or use another data folder", pb.Worker, old.pb.Id)
		return
	case old == nil && len(m.sessions) >= m.rules.MaxWorkers:
		r.Err = task.Errorf(task.KindExhausted, "the cluster has %d workers, the limit", m.rules.MaxWorkers)
		return
	case m.offersTooMuch(old, pb):
		r.Err = task.Errorf(task.KindExhausted, "the cluster's workers offer more than it holds, %d MiB: let worker %s offer fewer labels, handlers and queues", m.rules.maxSessionBytes>>20, pb.Worker)
		return
	}
	holder := uint64(0) // nobody
	if old != nil {
		holder = old.pb.Id
	}
	m.report(holder, o.Reports, r)
	fresh := proto.CloneOf(pb)
	fresh.Id, fresh.OpenedNs = m.nextSession, m.clock
	m.nextSession++
	s := m.addSession(fresh)
	if old != nil {
		m.move(old, s, o.Held)
		// Tasks that it no longer holds were lost with its process. That counts against them: a task that kills
		// its agent must not do so for ever.
		m.endSession(old, lost)
	}
	m.sessionsSum += sessionHash(fresh)
	m.dirtySessions[fresh.Id] = struct{}{}
	m.wake = true
	m.watchers.tally.opened.Add(1)
	m.tellSession(task.EventSessionOpened, s, false, s.assigned)
	r.Session = fresh.Id
}

// offersTooMuch says whether there is no room for what a worker offers, instead of what it offered before. An
// offer that is no larger than the one before is never too much.
func (m *Machine) offersTooMuch(old *session, pb *logpb.Session) bool {
	before, now := 0, proto.Size(pb)
	if old != nil {
		before = proto.Size(old.pb)
	}
	return now > before && m.sessionBytes-before+now > m.rules.maxSessionBytes
}

// move moves the tasks that the worker still holds from its old session to the new one.
func (m *Machine) move(from, to *session, held []*logpb.Held) {
	for _, h := range held {
		j := m.jobs[h.Job]
		if j == nil {
			continue
		}
		eachIndex(h.Ranges, func(i uint32) {
			if !m.current(from.pb.Id, j, i, int64(i)+h.TokenOffset) {
				return
			}
			s := j.touchSlot(i)
			m.touch(j)
			j.sum -= s.hash(i)
			s.session = to.pb.Id
			j.sum += s.hash(i)
			from.release(j.id, i)
			to.hold(j.id, i)
		})
	}
}

func (m *Machine) closeSession(o *logpb.CloseSession, r *Result) {
	s := m.sessions[o.Id]
	if s == nil {
		r.Err = task.Errorf(task.KindNotFound, "there is no session %d", o.Id)
		return
	}
	r.Session = o.Id
	switch {
	case !o.Graceful:
		m.endSession(s, lost)
	case o.Unstarted:
		m.endSession(s, unstarted)
	default:
		m.endSession(s, ended)
	}
}

// parting is what the end of a session means for the tasks that it held.
type parting uint8

const (
	// lost: its worker was lost, which counts against them.
	lost parting = iota
	// ended: its worker has ended in good order.
	ended
	// unstarted: the same, but it had not started these tasks, so they count as never granted.
	unstarted
)

// endSession takes all tasks from a session and forgets the session.
func (m *Machine) endSession(s *session, how parting) {
	m.watchers.tally.countSession(how)
	m.tellSession(task.EventSessionClosed, s, how != lost, s.assigned)
	for refs := s.heldPages(); len(refs) > 0; {
		n := 1
		for n < len(refs) && refs[n].job == refs[0].job {
			n++
		}
		m.takeBack(m.jobs[refs[0].job], s, refs[:n], how)
		refs = refs[n:]
	}
	m.removeSession(s)
	m.sessionsSum -= sessionHash(s.pb)
	m.dirtySessions[s.pb.Id] = struct{}{}
	m.wake = true
	if m.observer != nil {
		m.observer.SessionClosed(s.pb.Id)
	}
}

// takeBack ends the attempts at tasks of j on these pages that s holds.
func (m *Machine) takeBack(j *job, s *session, on []pageRef, how parting) {
	w := &segmentWriter{m: m, j: j}
	for _, at := range on {
		p := j.page(at.page)
		for k := range p.slots {
			if p.slots[k].session != s.pb.Id || !p.slots[k].state.Held() {
				continue
			}
			i := at.page*pageSize + uint32(k)
			sl := j.touchSlot(i)
			m.letGo(j, i, sl)
			switch stopped, why := j.stopped(sl); {
			case stopped:
				m.end(j, i, sl, task.Cancelled, why, nil, w, s.name())
			case how == lost && sl.lost+1 >= m.rules.MaxLost:
				m.end(j, i, sl, task.Failed, task.ReasonWorkerLost, nil, w, s.name())
			case how == lost:
				w.attempt(i, sl, task.OutcomeLost, task.ReasonWorkerLost, s.name())
				m.requeue(j, i, sl, func() { j.wentWrong(sl, &sl.lost) })
			case how == unstarted:
				m.requeue(j, i, sl, func() { sl.attempt-- })
			default:
				w.attempt(i, sl, task.OutcomeStopped, task.NoReason, s.name())
				m.requeue(j, i, sl, nil)
			}
		}
	}
	w.close()
}
