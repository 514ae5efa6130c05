package deterministic

import (
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/scheduler"
)

// link is a session's stream between a leader and a worker's process. What is sent arrives in
// order, or the link breaks.
type link struct {
	w       *world
	t       *tenure
	p       *process
	session uint64
	// broken: nothing arrives any more, either way. Each side learns of it in its own time.
	broken   bool
	lastDown time.Duration
	lastUp   time.Duration
}

// down sends a message to the worker.
func (l *link) down(do func()) {
	if l.arrives() {
		l.lastDown = max(l.lastDown, l.w.now+l.w.latency())
		l.w.after(l.lastDown-l.w.now, func() {
			if !l.broken {
				l.p.agent(func() {
					if l.p.link == l {
						do()
					}
				})
			}
		})
	}
}

// up sends a message to the leader.
func (l *link) up(do func()) {
	if l.arrives() {
		l.lastUp = max(l.lastUp, l.w.now+l.w.latency())
		l.w.after(l.lastUp-l.w.now, func() {
			if !l.broken && !l.t.ended {
				do()
			}
		})
	}
}

// arrives says whether the next message does. One that does not breaks the link.
func (l *link) arrives() bool {
	if !l.broken && l.w.lost() {
		l.snap()
	}
	return !l.broken
}

// snap breaks the link. The worker learns of it soon; the leader may not before the worker
// has another one.
func (l *link) snap() {
	if l.broken {
		return
	}
	l.broken = true
	if l.w.chance(50) {
		l.w.after(l.w.between(0, time.Second), func() { l.t.fleet.Detach(l.session, l) })
	}
	l.w.after(l.w.between(0, 500*time.Millisecond), func() { l.p.agent(func() { l.p.unlinked(l) }) })
}

// Grant implements scheduler.Stream.
func (l *link) Grant(g fsm.Grant) { l.tell(fsm.HeldTask{Grant: g}) }

// Stop implements scheduler.Stream.
func (l *link) Stop(job uint64, index uint32, offset int64) {
	l.down(func() { l.p.stop(sim.KeyAt(job, index, offset)) })
}

// End implements scheduler.Stream.
func (l *link) End(bool) { l.snap() }

// tell sends what the session holds. A task that was asked to end is sent as a grant and as a stop: the worker may
// not have heard of it at all.
func (l *link) tell(h fsm.HeldTask) {
	job := l.w.model.Jobs[h.Job]
	if job == nil {
		return // a deposed leader speaks of what is forgotten
	}
	l.down(func() {
		for i := h.First; i < h.First+h.Count; i++ {
			key := sim.KeyAt(h.Grant.Job, i, h.Grant.TokenOffset)
			l.p.granted(&attempt{AttemptKey: key, exclusive: job.Spec.Exclusive()})
			if h.Stopping {
				l.p.stop(key)
			}
		}
	})
}

// hello is what a process says when it attaches.
type hello struct {
	op   *logpb.OpenSession
	term uint64
	sent time.Duration
}

// serveHello does what a server does for a worker that attaches.
func (r *replica) serveHello(p *process, h hello) {
	t := r.tenure
	if r.m == nil || t == nil || t.ended || h.term > t.term {
		return // the worker tries elsewhere
	}
	if open, ok := r.m.SessionOf(p.wk.id); ok {
		switch {
		case string(open.Nonce) == string(h.op.Session.Nonce):
			t.attach(p, h, open.Id, true)
			return
		case t.fleet.Shunned(open.Id):
			return
		}
	}
	t.propose(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: h.op}}, func(res fsm.Result, err error) {
		if err == nil {
			t.attach(p, h, res.Session, res.Existed)
		}
	})
}

// attach makes a link the way to a session, and tells the worker what it holds.
func (t *tenure) attach(p *process, h hello, session uint64, attached bool) {
	l := &link{w: t.w, t: t, p: p, session: session}
	if t.ended || !t.fleet.Attach(session, l) {
		return
	}
	held := map[sim.AttemptKey]bool{}
	var all []fsm.HeldTask
	open := t.r.m.Held(session, func(h fsm.HeldTask) {
		all = append(all, h)
		for i := h.First; i < h.First+h.Count; i++ {
			held[sim.KeyAt(h.Grant.Job, i, h.Grant.TokenOffset)] = true
		}
	})
	if !open {
		t.fleet.Detach(session, l)
		return
	}
	if t.w.lost() {
		l.snap()
		return
	}
	l.lastDown = t.w.now + t.w.latency()
	t.w.after(l.lastDown-t.w.now, func() {
		if !l.broken {
			p.agent(func() { p.welcomed(l, h, attached, held) })
		}
	})
	for _, h := range all {
		l.tell(h)
	}
}

// beat is a beat at its leader. A beat for exclusive tasks is answered after a barrier only.
func (l *link) beat(exclusive bool, sent time.Duration, running []scheduler.Running) {
	renew := func() {
		if !l.t.fleet.Beat(l.session, l, running) {
			if !l.t.fleet.Shunned(l.session) {
				l.snap()
			}
			return
		}
		var stops []sim.AttemptKey
		l.t.r.m.Held(l.session, func(h fsm.HeldTask) {
			for i := h.First; h.Stopping && i < h.First+h.Count; i++ {
				stops = append(stops, sim.KeyAt(h.Grant.Job, i, h.Grant.TokenOffset))
			}
		})
		l.down(func() { l.p.beaten(exclusive, sent, stops) })
	}
	if !exclusive {
		renew()
		return
	}
	l.t.barrier(func(err error) {
		if err != nil {
			l.snap()
		} else if !l.broken {
			renew()
		}
	})
}

// report is a worker's report at its leader.
func (l *link) report(groups []*logpb.ReportGroup, run time.Duration, answer func(exceptions []fsm.Exception)) {
	l.t.fleet.Reporting(l.session, l)
	tell := answer
	answer = func(exceptions []fsm.Exception) {
		l.t.fleet.Reported(l.session, l)
		l.down(func() { tell(exceptions) })
	}
	sorted := l.t.r.m.SortOut(l.session, groups)
	if sorted.Ahead {
		l.w.problem("%s reports to %s what nobody was granted", l.p.wk.id, l.t.r.name)
	}
	known, _ := sorted.Exceptions(l.t.r.tokens)
	for _, e := range known {
		l.w.ledger.except(e)
	}
	if groups = sorted.Held; len(groups) == 0 {
		// The log has nothing to say about it.
		answer(known)
		return
	}
	var runs []scheduler.Run
	for _, g := range groups {
		r := scheduler.Run{Job: g.Job, Total: run / time.Duration(len(groups))}
		for _, tasks := range g.Ranges {
			r.Count += int(tasks.Count)
		}
		runs = append(runs, r)
	}
	l.t.fleet.Ran(l.session, runs...)
	l.t.looks.unsettled++
	op := &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: l.session, Groups: groups}}}
	l.t.propose(op, func(res fsm.Result, err error) {
		l.t.looks.unsettled--
		if err != nil {
			l.t.looks.stirred = true
			l.snap()
			return
		}
		answer(append(known, res.Exceptions...))
	})
}

// lastWords is a goodbye whose sender ends before the answer.
func (l *link) lastWords() {
	if l.arrives() {
		l.w.after(l.w.latency(), func() {
			if !l.t.ended {
				l.t.propose(closeOp(l.session, true), func(fsm.Result, error) {})
			}
		})
	}
}

// goodbye is a worker's wish to end its session, when it has reported all that it had.
func (l *link) goodbye() {
	op := closeOp(l.session, true)
	op.GetCloseSession().Unstarted = true
	l.t.propose(op, func(fsm.Result, error) { l.snap() })
}
