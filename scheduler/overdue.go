package scheduler

import (
	"context"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

const (
	// overdueLook is how often a leader looks for tasks whose workers are silent about them.
	overdueLook = 500 * time.Millisecond
	// overduePages bounds the pages of tasks of one look, about a millisecond's worth; the next
	// look goes on behind them. Five thousand workers are looked at every ten seconds.
	overduePages = 512
)

// reclaim takes tasks off workers that beat and say nothing of them: a worker ends a task at its
// timeout and when it is asked to, and the servers rely on no worker for it.
func (l *Loops) reclaim(ctx context.Context) {
	tick := time.NewTicker(overdueLook)
	defer tick.Stop()
	var overdue Backstop
	// Workers that attach anew, or that were refused, have reports to send first.
	patience := time.Now().Add(task.ReportMargin)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Now().Before(patience) {
			continue
		}
		ops, shunned := overdue.Look(l.State.Machine(), l.Fleet, l.Proposer.Now())
		for _, session := range shunned {
			l.Log.Warn("a worker does not say what became of an exclusive task, long after it should have ended: its lease is not renewed", "session", session)
		}
		for _, op := range ops {
			l.Log.Warn("tasks are taken off a worker that does not say what became of them", "session", op.GetOverdue().Session)
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
	// seen is since when tasks are both overdue and said to run, for no longer than they may:
	// they waited at their worker first. before is that of the last round through all sessions.
	seen, before map[heldTask]int64
}

// heldTask is a task that a session holds.
type heldTask struct {
	session, job uint64
	index        uint32
	tokenOffset  int64
}

// Look looks at some sessions. It returns the ops that take what is overdue off them, and those
// that it has shunned, since they hold something exclusive.
func (b *Backstop) Look(m *fsm.Machine, f *Fleet, now int64) (ops []*logpb.Op, shunned []uint64) {
	if b.after == 0 {
		b.before, b.seen = b.seen, map[heldTask]int64{}
	}
	found, next := m.Overdue(now, b.after, overduePages)
	b.after = next
	for _, o := range found {
		status, ok := f.Status(o.Session)
		if !ok || !status.Connected {
			continue // its lease ends, or it has just come back
		}
		if o.Exclusive {
			if f.Shun(o.Session) {
				shunned = append(shunned, o.Session)
			}
			continue
		}
		silent, unstarted := b.sort(o, status.Running, now)
		for _, op := range []*logpb.Overdue{silent, unstarted} {
			if len(op.Held) > 0 {
				ops = append(ops, &logpb.Op{Op: &logpb.Op_Overdue{Overdue: op}})
			}
		}
		if len(silent.Held)+len(unstarted.Held) > 0 {
			f.GaveBack(o.Session)
		}
	}
	return ops, shunned
}

// sort says which tasks their worker is silent about and which it has not started, since all its
// slots are taken. A third kind is left alone: what it started late.
func (b *Backstop) sort(o fsm.Overdue, running []Running, now int64) (silent, unstarted *logpb.Overdue) {
	silent = &logpb.Overdue{Session: o.Session}
	unstarted = &logpb.Overdue{Session: o.Session, Unstarted: true}
	type ref struct {
		job   uint64
		index uint32
	}
	runs := make(map[ref]time.Duration, len(running))
	for _, r := range running {
		runs[ref{r.Job, r.Index}] = r.For
	}
	for _, t := range o.Tasks {
		ran, started := runs[ref{t.Job, t.Index}]
		switch {
		case t.Stopping:
			addHeld(silent, t)
		case started && max(ran, b.since(o.Session, t, now)) < t.Timeout+task.ReportMargin:
		case !started && len(running) >= int(o.Slots):
			addHeld(unstarted, t)
		default:
			addHeld(silent, t)
		}
	}
	return silent, unstarted
}

// since is for how long a task is known to be overdue and to run. No worker makes that shorter by
// what it says.
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
