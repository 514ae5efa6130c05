package scheduler

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/task"
)

const (
	// overdueLook is how often a leader looks for tasks whose workers are silent about them.
	overdueLook = 500 * time.Millisecond
	// overduePages bounds the pages of tasks of one look, about a millisecond's worth; the next
	// look continues after them. Five thousand workers are looked at every ten seconds.
	overduePages = 512
	// quietTime is how long a worker must have reported nothing to count as one with nothing more to
	// report. A worker whose reports wait for a busy leader sends the next one with each answer.
	quietTime = time.Second
	// overduePatience is how long the leader waits for overdue tasks of a worker that reports others, or
	// that loses its connection again and again.
	overduePatience = 5 * time.Minute
	// overduePause is how long a silent worker is granted nothing: another worker should get the next
	// attempt.
	overduePause = 30 * time.Second
)

// reclaim takes tasks off workers that beat and say nothing about them. A worker ends a task at its
// timeout and when it is asked to, but the servers do not rely on that.
func (l *Loops) reclaim(ctx context.Context) {
	var overdue Backstop
	// Workers that have just attached, or whose reports were refused, send their reports first.
	patience := time.Now().Add(task.ReportMargin)
	for range ticks.Every(ctx, overdueLook) {
		l.Fleet.Rouse()
		if time.Now().Before(patience) || l.Settled != nil && !l.Settled() {
			continue
		}
		ops, shunned, absolved := overdue.Look(l.State.Machine(), l.Fleet, l.Proposer.Now())
		for _, session := range shunned {
			l.lines.Warn("a worker does not say what became of an exclusive task, long after it should have ended: its lease is not renewed", "session", session)
		}
		for _, session := range absolved {
			l.Logger.Info("a worker has said what became of its exclusive tasks: its lease is renewed again", "session", session)
		}
		for _, op := range ops {
			l.lines.Warn("tasks are taken off a worker that does not say what became of them", "session", op.GetOverdue().Session)
			if _, ok := l.propose(ctx, op); !ok {
				patience = time.Now().Add(task.ReportMargin)
				break
			}
		}
	}
}

// Backstop finds tasks whose workers are silent about them. The zero value begins anew.
type Backstop struct {
	after uint64
	// seen is when tasks were first found overdue that their worker says run, and not for longer than they
	// may: they waited at their worker first. before is the seen of the last round through all sessions.
	seen, before map[heldTask]int64
}

// heldTask is a task that a session holds.
type heldTask struct {
	session, job uint64
	index        uint32
	tokenOffset  int64
}

// Look looks at some sessions. It returns the ops that take overdue tasks off them, the sessions that it
// has shunned because they hold exclusive tasks, and those that are not shunned any more.
func (b *Backstop) Look(m *fsm.Machine, f *Fleet, now int64) (ops []*logpb.Op, shunned, absolved []uint64) {
	if b.after == 0 {
		b.before, b.seen = b.seen, map[heldTask]int64{}
	}
	found, next := m.Overdue(now, b.after, overduePages)
	last := next
	if next == 0 {
		last = math.MaxUint64
	}
	absolved = f.absolve(b.after, last, silentAboutExclusive(found))
	b.after = next
	for _, o := range found {
		status, ok := f.Status(o.Session)
		if !ok || !status.Connected {
			continue // its lease ends, or it has just come back
		}
		heard := f.attends(o.Session) || f.outOfPatience(&o, now)
		silent, unstarted, exclusive := b.sort(o, status, now)
		if exclusive {
			if heard && f.Shun(o.Session) {
				shunned = append(shunned, o.Session)
			}
			continue
		}
		if !heard {
			silent.Held = nil // it may be about to report them; what it has not started can go back
		}
		for _, op := range []*logpb.Overdue{silent, unstarted} {
			if len(op.Held) > 0 {
				ops = append(ops, &logpb.Op{Op: &logpb.Op_Overdue{Overdue: op}})
			}
		}
		switch {
		case len(silent.Held) > 0:
			f.rest(o.Session)
		case len(unstarted.Held) > 0:
			f.GaveBack(o.Session)
		}
	}
	return ops, shunned, absolved
}

// silentAboutExclusive is the sessions that hold overdue exclusive tasks, or so many overdue tasks that
// the exclusive ones may not be among those shown.
func silentAboutExclusive(found []fsm.Overdue) map[uint64]bool {
	out := make(map[uint64]bool, len(found))
	for _, o := range found {
		out[o.Session] = len(o.Tasks) == fsm.MaxReported || slices.ContainsFunc(o.Tasks, func(t fsm.OverdueTask) bool { return t.Exclusive })
	}
	return out
}

// sort says which tasks the worker is silent about, and which it has not started because all its
// slots are taken. Tasks that it started late are in neither. exclusive says that some tasks of these
// two kinds are exclusive; the ops do not name those.
func (b *Backstop) sort(o fsm.Overdue, s Status, now int64) (silent, unstarted *logpb.Overdue, exclusive bool) {
	silent = &logpb.Overdue{Session: o.Session}
	unstarted = &logpb.Overdue{Session: o.Session, Unstarted: true}
	type ref struct {
		job   uint64
		index uint32
	}
	runs := make(map[ref]time.Duration, len(s.Running))
	for _, r := range s.Running {
		runs[ref{r.Job, r.Index}] = r.For
	}
	for _, t := range o.Tasks {
		ran, started := runs[ref{t.Job, t.Index}]
		switch {
		case !t.Stopping && started && max(ran, b.since(o.Session, t, now)) < t.Timeout+task.ReportMargin:
		case t.Exclusive:
			exclusive = true
		case !t.Stopping && !started && s.Started >= int(o.Slots):
			addHeld(unstarted, t)
		default:
			addHeld(silent, t)
		}
	}
	return silent, unstarted, exclusive
}

// since is for how long a task has been known to be overdue and to run. Nothing that a worker says
// makes that shorter.
func (b *Backstop) since(session uint64, t fsm.OverdueTask, now int64) time.Duration {
	key := heldTask{session, t.Job, t.Index, t.TokenOffset}
	first, ok := b.seen[key]
	if !ok {
		if first, ok = b.before[key]; !ok {
			first = now
		}
		b.seen[key] = first
	}
	return time.Duration(now - first)
}

func addHeld(o *logpb.Overdue, t fsm.OverdueTask) {
	if n := len(o.Held); n > 0 && o.Held[n-1].Job == t.Job && o.Held[n-1].TokenOffset == t.TokenOffset {
		h := o.Held[n-1]
		if last := h.Ranges[len(h.Ranges)-1]; last.First+last.Count == t.Index {
			last.Count++
			return
		}
		h.Ranges = append(h.Ranges, &logpb.Range{First: t.Index, Count: 1})
		return
	}
	o.Held = append(o.Held, &logpb.Held{Job: t.Job, TokenOffset: t.TokenOffset, Ranges: []*logpb.Range{{First: t.Index, Count: 1}}})
}

// attends says that a worker has been connected and quiet for so long that it has nothing more
// to report.
func (f *Fleet) attends(session uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	return m != nil && time.Since(m.contact) >= task.ReportMargin && time.Since(m.beat) <= f.lease/2 &&
		m.reports == 0 && time.Since(m.reported) >= quietTime
}

// outOfPatience says whether o has tasks for which the leader does not wait any more, whatever their worker
// does. If so, it leaves only those in o.
func (f *Fleet) outOfPatience(o *fsm.Overdue, now int64) bool {
	f.mu.Lock()
	led := time.Since(f.began)
	f.mu.Unlock()
	if led < overduePatience {
		return false
	}
	late := slices.DeleteFunc(slices.Clone(o.Tasks), func(t fsm.OverdueTask) bool {
		waited := time.Duration(now-t.At) - task.ReportMargin
		if !t.Stopping {
			waited -= t.Timeout
		}
		return waited < overduePatience
	})
	if len(late) == 0 {
		return false
	}
	o.Tasks = late
	return true
}

// rest makes sure that a worker is granted nothing for a while.
func (f *Fleet) rest(session uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(session); m != nil {
		m.rests = time.Now().Add(overduePause)
	}
}

// Rouse ends the rests that are over.
func (f *Fleet) Rouse() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.members.Scan(func(_ uint64, m *Member) bool {
		if !m.rests.IsZero() && !now.Before(m.rests) {
			m.rests = time.Time{}
			f.Wake()
		}
		return true
	})
}

// Reporting notes that a report has come and will be answered.
func (f *Fleet) Reporting(session uint64, stream Stream) { f.countReports(session, stream, 1) }

// Reported notes that it was answered.
func (f *Fleet) Reported(session uint64, stream Stream) { f.countReports(session, stream, -1) }

func (f *Fleet) countReports(session uint64, stream Stream, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(session); m != nil && m.stream == stream {
		m.reports += by
		m.reported = time.Now()
	}
}
