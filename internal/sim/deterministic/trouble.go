package deterministic

import (
	"fmt"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

const (
	// longest is how long any trouble lasts, and what a deposed leader had in flight may take.
	longest = 3 * lease
	// quiet is how long after the last trouble something of it may still come to the log.
	quiet = longest + time.Second
	// drainTime is how long it may take then until everything has come to its end: longer than
	// an open job is waited for, and than any backoff.
	drainTime = 20 * time.Minute
)

// makeTrouble makes one kind of trouble, and schedules the next.
func (w *world) makeTrouble() {
	if w.healed {
		return
	}
	n := w.nature
	r := w.replicas[w.below(len(w.replicas))]
	wk := w.workers[w.below(len(w.workers))]
	switch k := w.below(12); {
	case k < 3 && n.crashes && w.whole():
		r.kill()
		w.startLater(r)
	case k == 3 && n.crashes && w.whole() && w.chance(30): // the power fails
		for _, r := range w.replicas {
			r.kill()
			w.startLater(r)
		}
	case k < 5 && n.zombies && w.whole() && w.tenure != nil:
		w.isolateLeader()
	case k == 5 && w.tenure != nil: // leadership is handed over
		t := w.tenure
		t.depose()
		t.end()
	case k < 8 && n.deaths:
		if p := wk.proc; p != nil && w.chance(30) && !wk.paused {
			p.leave()
			w.after(w.between(time.Second, longest), func() { wk.die(false) })
		} else {
			wk.die(w.chance(20))
		}
		w.after(w.between(0, longest), wk.start)
		w.after(longest, wk.start)
	case k < 10 && n.pauses:
		wk.pause()
		w.after(w.between(0, longest), wk.resume)
	case k == 10 && n.installs && r.tenure == nil && !r.isolated:
		r.install(w.replicas[w.below(len(w.replicas))])
	case k == 11 && w.tenure != nil:
		w.configure()
		w.tenure.r.catchUp()
	}
	w.after(w.between(20*time.Millisecond, time.Second), w.makeTrouble)
}

// planBlindly proposes what a leader might once have meant to: any tasks to anybody, and the
// end of jobs whose time has not come.
func (w *world) planBlindly() {
	if w.healed || !w.nature.stale {
		return
	}
	if t := w.tenure; t != nil {
		plan := &logpb.ApplyPlan{}
		for range 1 + w.below(3) {
			job, ok := w.ledger.aJob()
			if !ok {
				break
			}
			session := w.model.NextSession - min(w.model.NextSession, uint64(w.below(8)))
			plan.Assign = append(plan.Assign, &logpb.Assign{Job: job, First: uint32(w.below(5)), Count: uint32(1 + w.below(8)), Session: session})
		}
		op := &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}}
		if job, ok := w.ledger.aJob(); ok {
			switch w.below(8) {
			case 0: // what is not over, or not for long enough, must stay
				key := &logpb.KeyRef{Queue: task.DefaultQueue, Key: fmt.Sprintf("c1-%d", 1+w.below(40))}
				op.Op = &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}, Keys: []*logpb.KeyRef{key}}}
			case 1:
				op.Op = &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}}}
			}
		}
		t.propose(op, func(fsm.Result, error) {})
	}
	w.after(w.between(20*time.Millisecond, 600*time.Millisecond), w.planBlindly)
}

// whole says that no server is in trouble: only one may be at a time.
func (w *world) whole() bool {
	for _, r := range w.replicas {
		if r.m == nil || r.isolated {
			return false
		}
	}
	return w.zombie == nil
}

func (w *world) startLater(r *replica) {
	w.after(w.between(0, lease), func() {
		if r.m != nil {
			return
		}
		if w.nature.installs && w.chance(60) { // it has lost its disk, or is too far behind
			r.install(w.replicas[w.below(len(w.replicas))])
		}
		r.start()
	})
}

// isolateLeader takes leadership from a server that does not learn of it for a while.
func (w *world) isolateLeader() {
	t := w.tenure
	w.counts.Zombies++
	t.r.isolated = true
	w.zombie = t
	t.depose()
	w.after(w.between(50*time.Millisecond, 2*lease), t.end)
}

// heal ends all trouble.
func (w *world) heal() {
	w.tracef("all is healed")
	w.healed = true
	if w.zombie != nil {
		w.zombie.end()
	}
	for _, r := range w.replicas {
		if r.m == nil {
			r.start()
		}
	}
	for _, wk := range w.workers {
		wk.resume()
		if p := wk.proc; p != nil {
			p.endEndless()
		}
		wk.start()
	}
	w.after(quiet, w.drain)
}

// drain waits until everything has come to its end.
func (w *world) drain() {
	for _, wk := range w.workers { // one that left in good order is started again
		wk.start()
	}
	left := w.unfinished()
	switch {
	case left == "":
		w.finish()
	case w.now > w.nature.trouble+drainTime:
		w.problem("%v after all was healed: %s", drainTime, left)
	default:
		w.after(500*time.Millisecond, w.drain)
	}
}

// unfinished says what has not come to its end; "": everything has.
func (w *world) unfinished() string {
	var out []string
	if w.tenure == nil {
		out = append(out, "there is no leader")
	}
	for _, c := range w.clients {
		if c.busy > 0 {
			out = append(out, fmt.Sprintf("%s waits for %d answers", c.name, c.busy))
		}
	}
	for _, j := range w.model.JobList() {
		if j.Finished == 0 {
			out = append(out, fmt.Sprintf("job %d is not final: %v of %d, open %v", j.ID, j.Counts(), j.Total(), j.Open))
		}
	}
	for _, wk := range w.workers {
		if p := wk.proc; p == nil || p.link == nil || len(p.order) > 0 {
			out = append(out, wk.describe())
		} else if w.tenure != nil {
			if s, known := w.tenure.fleet.Status(p.session); known && !s.Takes {
				out = append(out, wk.id+" is granted nothing")
			}
		}
	}
	return strings.Join(out, "; ")
}

func (wk *worker) describe() string {
	p := wk.proc
	if p == nil {
		return wk.id + " is dead"
	}
	return fmt.Sprintf("%s: session %d, term %d, linked %v, %d held, %d running, leaving %v", wk.id, p.session, p.term, p.link != nil, len(p.order), p.running, p.leaving)
}
