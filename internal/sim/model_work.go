package sim

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// badRanges says that a plan or a report names what no job can have, or too much.
func badRanges(limit uint64, each func(check func(first, count uint32))) bool {
	sum, bad := uint64(0), false
	each(func(first, count uint32) {
		sum += uint64(count)
		bad = bad || uint64(first)+uint64(count) > task.MaxTasks
	})
	return bad || sum > limit
}

func badReport(groups []*logpb.ReportGroup) bool {
	for _, g := range groups {
		if g.Outcome < 1 || g.Outcome > uint32(task.OutcomeLost) || g.Reason > uint32(task.ReasonAbandoned) {
			return true
		}
	}
	return badRanges(fsm.MaxReported, func(check func(first, count uint32)) {
		for _, g := range groups {
			for _, rg := range g.Ranges {
				check(rg.First, rg.Count)
			}
		}
	})
}

func badHeld(held []*logpb.Held) bool {
	return badRanges(fsm.MaxReported, func(check func(first, count uint32)) {
		for _, h := range held {
			for _, rg := range h.Ranges {
				check(rg.First, rg.Count)
			}
		}
	})
}

// Held returns the tasks that a session holds, as events, in order of job and index.
func (m *Model) Held(session uint64) (out []Event) {
	for _, j := range m.JobList() {
		for i, t := range j.Tasks {
			if t.State.Held() && t.Session == session {
				out = append(out, Event{Session: session, Job: j.ID, Index: uint32(i), Token: t.Token, Attempt: t.Attempt})
			}
		}
	}
	return out
}

// load counts the tasks that a session holds.
func (m *Model) load(session uint64) (n int) {
	for _, j := range m.Jobs {
		for _, t := range j.Tasks {
			if t.State.Held() && t.Session == session {
				n++
			}
		}
	}
	return n
}

func (m *Model) openSession(o *logpb.OpenSession, r *fsm.Result) {
	pb := o.Session
	if pb == nil || pb.Worker == "" || pb.Slots < 1 || pb.Slots > task.MaxSlots || badReport(o.Reports) || badHeld(o.Held) {
		refuse(r, task.KindInvalid)
		return
	}
	var old *Session
	for _, s := range m.Sessions {
		if s.Worker == pb.Worker {
			old = s
		}
	}
	switch {
	case old != nil && bytes.Equal(old.Nonce, pb.Nonce):
		r.Session, r.Existed = old.Id, true
		return
	case old != nil && old.Id == o.Replaces && !bytes.Equal(old.Nonce, o.ReplacesNonce):
		m.saw("session replaced without its nonce")
		refuse(r, task.KindConflict)
		return
	case old != nil && old.Id != o.Replaces:
		refuse(r, task.KindConflict)
		return
	}
	holder := uint64(0) // nobody
	if old != nil {
		holder = old.Id
	}
	m.report(holder, o.Reports, r)
	fresh := proto.CloneOf(pb)
	fresh.Id, fresh.OpenedNs = m.NextSession, m.Clock
	m.NextSession++
	m.Sessions[fresh.Id] = &Session{fresh}
	r.Session = fresh.Id
	if old == nil {
		return
	}
	for _, h := range o.Held {
		for _, rg := range h.Ranges {
			for i := rg.First; i < rg.First+rg.Count; i++ {
				if t := m.current(old.Id, h.Job, i, uint64(int64(i)+h.TokenOffset)); t != nil {
					t.Session = fresh.Id
					m.saw("task kept over a new session")
				}
			}
		}
	}
	m.endSession(old, true, false)
}

func (m *Model) closeSession(o *logpb.CloseSession, r *fsm.Result) {
	s := m.Sessions[o.Id]
	if s == nil {
		refuse(r, task.KindNotFound)
		return
	}
	r.Session = o.Id
	m.endSession(s, !o.Graceful, o.Graceful && o.Unstarted)
}

func (m *Model) endSession(s *Session, lost, unstarted bool) {
	for _, held := range m.Held(s.Id) {
		j, i := m.Jobs[held.Job], held.Index
		t := j.Tasks[i]
		switch {
		case t.State == task.Stopping:
			m.saw("stopping to cancelled by the end of a session")
			m.end(j, i, task.Cancelled, t.Reason, s.workerName(), nil)
		case j.CancelReason != 0:
			m.saw("ended by the end of a session before the sweep")
			m.end(j, i, task.Cancelled, j.CancelReason, s.workerName(), nil)
		case lost && t.Lost+1 >= uint32(m.rules.MaxLost):
			m.saw("worker lost too often")
			m.end(j, i, task.Failed, task.ReasonWorkerLost, s.workerName(), nil)
		default:
			switch {
			case lost:
				m.tried(t, task.OutcomeLost, task.ReasonWorkerLost, s.workerName(), nil)
				t.Lost++
			case !unstarted:
				m.tried(t, task.OutcomeStopped, 0, s.workerName(), nil)
			}
			if unstarted {
				m.saw("given back by the end of a session")
				t.Attempt--
			}
			m.saw("requeued by the end of a session")
			t.State, t.Session = task.Pending, 0
		}
	}
	delete(m.Sessions, s.Id)
	m.Events = append(m.Events, Event{Kind: ClosedEvent, Session: s.Id})
}

func (s *Session) workerName() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Worker
}

func (m *Model) applyPlan(o *logpb.ApplyPlan, r *fsm.Result) {
	if badPlan(o.Assign) {
		m.saw("hostile plan")
		refuse(r, task.KindInvalid)
		return
	}
	for _, a := range o.Assign {
		granted := m.assign(a.Session, a.Job, a)
		r.Granted += granted
		r.Refused += a.Count - granted
	}
}

func badPlan(assigns []*logpb.Assign) bool {
	return badRanges(fsm.MaxPlanned, func(check func(first, count uint32)) {
		for _, a := range assigns {
			check(a.First, a.Count)
		}
	})
}

// assign grants what can be granted of some tasks of a job.
func (m *Model) assign(session, job uint64, a *logpb.Assign) (granted uint32) {
	for i := a.First; i < a.First+a.Count; i++ {
		if !m.grantable(session, job, i) {
			continue
		}
		granted++
		j := m.Jobs[job]
		t := j.Tasks[i]
		if t.Failures > 0 {
			m.saw("retry granted")
		}
		t.Attempt++
		t.State, t.Touched, t.Session, t.Token, t.NotBefore, t.Since = task.Assigned, true, session, m.NextToken, 0, m.Clock
		m.NextToken++
		if j.Started == 0 {
			j.Started = m.Clock
		}
		m.Events = append(m.Events, Event{Kind: GrantedEvent, Session: session, Job: job, Index: i, Token: t.Token, Attempt: t.Attempt})
	}
	return granted
}

// Grantable says whether some session could be given task i of j at a time, all
// sessions being empty.
func (j *Job) Grantable(i uint32, now int64) bool {
	if i >= j.Total() || j.Open && j.Hold || j.NotBefore > now || j.Sweep != 0 {
		return false
	}
	t, c := j.Tasks[i], j.Counts()
	held := c.Held()
	switch {
	case j.Spec.MaxParallel > 0 && held >= j.Spec.MaxParallel:
		return false
	case t.State != task.Pending && t.State != task.Scheduled || t.NotBefore > now:
		return false
	case !t.Touched && i != j.Frontier():
		return false
	}
	if j.Spec.Serial {
		for k, other := range j.Tasks {
			if other.State.Held() || k < int(i) && !other.State.Final() {
				return false
			}
		}
	}
	return true
}

func (m *Model) grantable(session, job uint64, i uint32) bool {
	s, j := m.Sessions[session], m.Jobs[job]
	if s == nil || j == nil || !s.Accepts(j.Spec) {
		return false
	}
	if !j.Grantable(i, m.Clock) {
		c := j.Counts()
		if j.Spec.Serial && c.Held() == 0 && i < j.Total() && i == j.Frontier() && c[task.Scheduled]+c[task.Pending] > 0 && !j.Hold && j.NotBefore <= m.Clock {
			m.saw("serial task waits for the one before it")
		}
		return false
	}
	if !j.Spec.Serial {
		return m.load(session) < int(s.Slots)+int(m.rules.MaxOutstanding)
	}
	if m.load(session) >= int(s.Slots) {
		m.saw("no free slot")
		return false
	}
	return true
}

// Accepts says whether the session's worker can run tasks of a spec.
func (s *Session) Accepts(spec *task.Spec) bool {
	if spec.Handler == "" && !s.Commands || spec.Handler != "" && !slices.Contains(s.Handlers, spec.Handler) {
		return false
	}
	if len(s.Queues) > 0 && !slices.Contains(s.Queues, spec.Queue) {
		return false
	}
	for _, want := range spec.Require {
		if !slices.ContainsFunc(s.Labels, func(p *logpb.Pair) bool { return p.Key == want.Key && p.Value == want.Value }) {
			return false
		}
	}
	return true
}

// current returns the task that a session holds under token, or nil.
func (m *Model) current(session, job uint64, i uint32, token uint64) *Task {
	j := m.Jobs[job]
	if j == nil || i >= j.Total() {
		return nil
	}
	if t := j.Tasks[i]; t.State.Held() && t.Session == session && t.Token == token {
		return t
	}
	return nil
}

func (m *Model) report(session uint64, groups []*logpb.ReportGroup, r *fsm.Result) {
	if badReport(groups) {
		refuse(r, task.KindInvalid)
		return
	}
	for _, g := range groups {
		outputs, usages := g.PackedOutputs, g.PackedUsage
		for _, rg := range g.Ranges {
			for i := rg.First; i < rg.First+rg.Count; i++ {
				var output []byte
				output, outputs, _ = task.PackNext(outputs)
				m.usage, usages, _ = task.PackNext(usages)
				token := uint64(int64(i) + g.TokenOffset)
				if m.current(session, g.Job, i, token) == nil {
					if m.holder(g.Job, i, token) != 0 {
						m.saw("report of another session's task")
					}
					except(r, fsm.Exception{Job: g.Job, First: i, Count: 1, TokenOffset: g.TokenOffset, Verdict: m.verdict(g.Job, i, token)})
					continue
				}
				m.endAttempt(m.Jobs[g.Job], i, g, output)
			}
		}
	}
}

// except adds an exception, or makes the last one longer.
func except(r *fsm.Result, e fsm.Exception) {
	if n := len(r.Exceptions); n > 0 {
		last := &r.Exceptions[n-1]
		if last.Job == e.Job && last.First+last.Count == e.First && last.TokenOffset == e.TokenOffset && last.Verdict == e.Verdict {
			last.Count++
			return
		}
	}
	r.Exceptions = append(r.Exceptions, e)
}

// holder is the session that holds a task under token; 0: nobody does.
func (m *Model) holder(job uint64, i uint32, token uint64) uint64 {
	for id := range m.Sessions {
		if m.current(id, job, i, token) != nil {
			return id
		}
	}
	return 0
}

func (m *Model) verdict(job uint64, i uint32, token uint64) fsm.Verdict {
	j := m.Jobs[job]
	if j == nil || i >= j.Total() {
		m.saw("verdict unknown")
		return fsm.Unknown
	}
	if t := j.Tasks[i]; t.State.Final() && t.Token != 0 && t.Token == token {
		if t.Reported {
			m.saw("verdict already")
			return fsm.Already
		}
		m.saw("verdict on what the servers have ended")
	}
	m.saw("verdict superseded")
	return fsm.Superseded
}

func (m *Model) endAttempt(j *Job, i uint32, g *logpb.ReportGroup, output []byte) {
	t := j.Tasks[i]
	worker := m.Sessions[t.Session].workerName()
	outcome := task.Outcome(g.Outcome)
	switch {
	case t.State == task.Stopping:
		m.saw("stopping to cancelled by a report")
		m.printed(t, output)
		m.end(j, i, task.Cancelled, t.Reason, worker, g)
	case j.CancelReason != 0:
		m.saw("ended by a report before the sweep")
		m.printed(t, output)
		m.end(j, i, task.Cancelled, j.CancelReason, worker, g)
	case outcome == task.OutcomeSucceeded:
		t.Output = output
		m.end(j, i, task.Succeeded, 0, worker, g)
	case outcome == task.OutcomeReturned, outcome == task.OutcomeStopped:
		t.State, t.Session = task.Pending, 0
		if outcome == task.OutcomeReturned {
			m.saw("returned")
			t.Attempt--
		} else {
			m.tried(t, outcome, 0, worker, g)
		}
	case outcome == task.OutcomeLost && t.Lost+1 >= uint32(m.rules.MaxLost):
		m.saw("lost too often")
		m.end(j, i, task.Failed, task.ReasonWorkerLost, worker, g)
	case outcome == task.OutcomeLost:
		m.saw("lost")
		m.tried(t, outcome, task.ReasonWorkerLost, worker, g)
		t.Lost++
		m.postpone(j, i, task.ReasonWorkerLost, t.Lost)
	case g.Permanent || t.Failures+1 >= j.Spec.MaxAttempts:
		m.saw("failed")
		t.Output = output
		m.end(j, i, task.Failed, task.Reason(g.Reason), worker, g)
	default:
		m.saw("retry")
		m.tried(t, outcome, task.Reason(g.Reason), worker, g)
		t.Failures++
		m.postpone(j, i, task.Reason(g.Reason), t.Failures)
	}
}

// printed keeps what a task has printed that was cancelled meanwhile.
func (m *Model) printed(t *Task, output []byte) {
	if m.version >= 4 {
		t.Output = output
	}
}

// tried notes that an attempt of a task has ended, and the task is tried again. g is the report of it.
func (m *Model) tried(t *Task, outcome task.Outcome, why task.Reason, worker string, g *logpb.ReportGroup) {
	a := Attempt{Number: t.Attempt, Outcome: outcome, Reason: why, Worker: worker, Token: t.Token, Granted: t.Since, Ended: m.Clock}
	if g != nil {
		a.ExitCodePlusOne, a.Error = g.ExitCodePlusOne, g.Error
		a.Stderr = string(g.StderrTail[max(0, len(g.StderrTail)-m.rules.MaxAttemptStderr):])
		a.Usage = string(m.usage)
	}
	t.Tried = append(t.Tried, a)
}

// postpone lets a task wait for its next attempt, after so many that went wrong.
func (m *Model) postpone(j *Job, i uint32, why task.Reason, wrong uint32) {
	t := j.Tasks[i]
	t.State, t.Session, t.Reason = task.Scheduled, 0, why
	t.NotBefore = m.Clock + int64(m.rules.Backoff(j.ID, i, wrong))
}
