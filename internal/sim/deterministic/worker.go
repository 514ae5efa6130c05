package deterministic

import (
	"fmt"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

const (
	// attachTimeout is how long a worker waits for a welcome.
	attachTimeout = 500 * time.Millisecond
	// Beats in a lease, and how long one may stay unanswered, as in package worker.
	beatsPerLease          = 3
	exclusiveBeatsPerLease = 10
	silence                = lease / 4
	// Parts of a lease: until when exclusive tasks may start, and after which they are killed.
	startShare = lease / 2
	killShare  = lease * 8 / 10
	// oldReports is how many reports a process remembers, to send them again.
	oldReports = 8
)

// worker is a worker over all its lives.
type worker struct {
	w        *world
	id       string
	slots    uint32
	commands bool
	zone     string
	lives    int
	proc     *process
	// session is the last one that it opened, by the process with nonce, kept on its disk.
	session uint64
	nonce   []byte
	paused  bool
	// postponed is what has happened to its agent while it was paused.
	postponed []func()
}

func newWorker(w *world, i int) *worker {
	wk := &worker{w: w, id: fmt.Sprintf("w%d", i+1), slots: uint32(1 + w.below(5)), commands: i%2 == 0, zone: string(rune('a' + i/2))}
	w.after(w.between(0, 500*time.Millisecond), wk.start)
	return wk
}

// start begins a life of the worker, unless it lives.
func (wk *worker) start() {
	if wk.proc != nil {
		return
	}
	wk.lives++
	p := &process{wk: wk, w: wk.w, nonce: nonceOf(wk.lives), attempts: map[sim.AttemptKey]*attempt{}, mute: map[sim.AttemptKey]bool{}}
	wk.proc = p
	wk.w.tracef("%s starts its life %d", wk.id, wk.lives)
	p.attach()
}

func nonceOf(life int) []byte { return []byte{byte(life >> 8), byte(life)} }

// die ends the worker and all that it runs. forget takes its disk as well: then it has to
// wait for its own lease.
func (wk *worker) die(forget bool) {
	p := wk.proc
	if p == nil {
		return
	}
	wk.w.counts.Deaths++
	wk.w.tracef("%s dies", wk.id)
	p.dead = true
	for _, a := range p.order {
		p.physicalEnd(a)
	}
	if p.link != nil {
		p.link.snap()
	}
	wk.proc, wk.paused, wk.postponed = nil, false, nil
	if forget {
		wk.session, wk.nonce = 0, nil
	}
}

// pause stops the worker's agent; what it runs goes on.
func (wk *worker) pause() {
	if wk.proc != nil && !wk.paused {
		wk.paused = true
		wk.w.counts.Pauses++
		wk.w.tracef("%s is paused", wk.id)
	}
}

func (wk *worker) resume() {
	if !wk.paused {
		return
	}
	wk.paused = false
	wk.w.tracef("%s goes on", wk.id)
	postponed := wk.postponed
	wk.postponed = nil
	for _, do := range postponed {
		wk.w.after(0, do)
	}
}

// process is one life of a worker.
type process struct {
	wk    *worker
	w     *world
	nonce []byte
	dead  bool
	// leaving: it ends in good order.
	leaving bool

	session, term uint64
	link          *link
	// tries counts attempts to attach: an answer to an earlier one is for nobody.
	tries int
	// renewed is when the beat was sent that the lease of exclusive tasks counts from.
	renewed   time.Duration
	haveLease bool
	beats     int // sent on this link
	answered  int
	attempts  map[sim.AttemptKey]*attempt
	order     []*attempt
	// mute is what it has forgotten to report, and answers nothing about.
	mute      map[sim.AttemptKey]bool
	running   uint32
	ending    int // exclusive tasks that run and were given up
	reporting bool
	old       [][]*logpb.ReportGroup
}

// agent makes the agent do something: not if it is dead, and later if it is paused.
func (p *process) agent(do func()) {
	switch {
	case p.dead:
	case p.wk.paused:
		p.wk.postponed = append(p.wk.postponed, func() { p.agent(do) })
	default:
		do()
	}
}

// later is after for the agent.
func (p *process) later(d time.Duration, do func()) { p.w.after(d, func() { p.agent(do) }) }

// attach says hello to one of the servers.
func (p *process) attach() {
	p.tries++
	try := p.tries
	r := p.w.replicas[p.w.below(len(p.w.replicas))]
	if p.w.tenure != nil && p.w.chance(60) {
		r = p.w.tenure.r // somebody has told it
	}
	h := hello{op: p.hello(), term: p.term, sent: p.w.now}
	if !p.w.lost() {
		p.w.after(p.w.latency(), func() { r.serveHello(p, h) })
	}
	wait := attachTimeout
	if r.tenure == nil {
		wait = p.w.between(10*time.Millisecond, 300*time.Millisecond)
	}
	p.later(wait, func() {
		if p.link == nil && p.tries == try {
			p.attach()
		}
	})
}

// hello is all that a process says of itself.
func (p *process) hello() *logpb.OpenSession {
	s := &logpb.Session{
		Worker: p.wk.id, Name: p.wk.id + "-name", Nonce: p.nonce, Slots: p.wk.slots, Handlers: []string{"work"}, Commands: p.wk.commands,
		Labels: []*logpb.Pair{{Key: "zone", Value: p.wk.zone}},
	}
	// The nonce that the session was opened with: it has another one for what comes next.
	op := &logpb.OpenSession{Session: s, Replaces: p.session, ReplacesNonce: p.wk.nonce}
	if op.Replaces == 0 {
		op.Replaces = p.wk.session
	}
	var done []*attempt
	for _, a := range p.order {
		op.Held = append(op.Held, &logpb.Held{Job: a.Job, TokenOffset: a.Offset(), Ranges: []*logpb.Range{{First: a.Index, Count: 1}}})
		if a.state == ended {
			done = append(done, a)
		}
	}
	if len(done) > 0 && p.w.chance(50) {
		// They are reported again on the link: a hello is not answered report by report.
		op.Reports = groupsOf(done)
	}
	return op
}

// welcomed takes over what a leader answers to a hello.
func (p *process) welcomed(l *link, h hello, attached bool, held map[sim.AttemptKey]bool) {
	if p.link != nil || l.t.term < p.term {
		l.snap()
		return
	}
	p.link, p.term, p.session = l, l.t.term, l.session
	p.wk.session, p.wk.nonce = l.session, p.nonce
	p.beats, p.answered, p.reporting = 0, 0, false
	p.w.tracef("%s is welcomed in session %d by %s, attached %v", p.wk.id, l.session, l.t.r.name, attached)
	if !attached {
		p.renewed, p.haveLease = max(p.renewed, h.sent), true
	}
	for _, a := range slices.Clone(p.order) {
		if !held[a.AttemptKey] && a.state != ended {
			p.drop(a)
		}
	}
	p.beatNow(l)
	p.reportSoon()
	p.startMore()
}

// unlinked is when a worker learns that its link is broken.
func (p *process) unlinked(l *link) {
	if p.link != l {
		return
	}
	p.link = nil
	if p.w.chance(10) {
		// As if it was another process that holds what this one did.
		p.wk.lives++
		p.nonce = nonceOf(p.wk.lives)
	}
	if p.leaving {
		p.wk.die(false)
		return
	}
	p.later(p.w.between(0, 100*time.Millisecond), func() {
		if p.link == nil {
			p.attach()
		}
	})
}

// beatNow beats, and schedules the next beat.
func (p *process) beatNow(l *link) {
	if p.link != l {
		return
	}
	exclusive, sent := p.holdsExclusive(), p.w.now
	p.beats++
	n := p.beats
	running := p.runningNow()
	l.up(func() { l.beat(exclusive, sent, running) })
	p.later(silence, func() {
		if p.link == l && p.answered < n {
			l.snap()
			p.unlinked(l)
		}
	})
	every := lease / beatsPerLease
	if exclusive {
		every = lease / exclusiveBeatsPerLease
	}
	p.later(every, func() {
		if p.beats == n {
			p.beatNow(l)
		}
	})
}

// beaten takes the answer to a beat.
func (p *process) beaten(exclusive bool, sent time.Duration, stops []sim.AttemptKey) {
	p.answered++
	if exclusive {
		p.renewed, p.haveLease = max(p.renewed, sent), true
	}
	for _, k := range stops {
		p.stop(k)
	}
	p.startMore()
}

// runningNow is what a beat says of what runs.
func (p *process) runningNow() (running []scheduler.Running) {
	for _, a := range p.order {
		if a.state == runs {
			running = append(running, scheduler.Running{Job: a.Job, Index: a.Index, For: p.w.now - a.began})
		}
	}
	return running
}

func (p *process) holdsExclusive() bool {
	return slices.ContainsFunc(p.order, func(a *attempt) bool { return a.exclusive && a.state != ended })
}

// reportSoon reports what has ended, some time soon: several in one report.
func (p *process) reportSoon() {
	l := p.link
	if p.reporting || l == nil {
		return
	}
	p.reporting = true
	d := p.w.between(0, 10*time.Millisecond)
	if p.w.chance(3) && !p.w.healed {
		d = p.w.between(0, 2*lease)
	}
	p.later(d, func() {
		if p.link == l {
			p.reporting = false
			p.report(l)
		}
	})
}

func (p *process) report(l *link) {
	var some []*attempt
	run := time.Duration(0)
	for _, a := range p.order {
		if a.state == ended && a.reportedOn != l {
			a.reportedOn = l
			run += a.ended - a.began
			some = append(some, a)
		}
	}
	if len(some) == 0 {
		return
	}
	groups := groupsOf(some)
	p.w.tracef("%s reports %d", p.wk.id, len(some))
	l.up(func() { l.report(groups, run, func(x []fsm.Exception) { p.settled(some, x) }) })
	if p.w.chance(8) { // sent twice
		l.up(func() { l.report(groups, run, func(x []fsm.Exception) { p.w.ledger.reported(some, x) }) })
	}
	if len(p.old) > 0 && p.w.chance(8) { // long answered
		old := p.old[p.w.below(len(p.old))]
		l.up(func() { l.report(old, time.Second, func([]fsm.Exception) {}) })
	}
	if p.old = append(p.old, groups); len(p.old) > oldReports {
		p.old = p.old[1:]
	}
}

// settled takes the answer to a report: it is final for the worker.
func (p *process) settled(some []*attempt, x []fsm.Exception) {
	p.w.ledger.reported(some, x)
	for _, a := range some {
		delete(p.attempts, a.AttemptKey)
	}
	p.order = slices.DeleteFunc(p.order, func(a *attempt) bool { return p.attempts[a.AttemptKey] != a })
	p.sayGoodbye()
}

// leave ends the worker in good order.
func (p *process) leave() {
	p.leaving = true
	p.w.tracef("%s leaves", p.wk.id)
	if p.link != nil && !p.holdsExclusive() && p.w.chance(40) {
		// It does not wait for what it runs: that goes to others, and is no loss.
		p.link.up(p.link.goodbye)
		return
	}
	for _, a := range slices.Clone(p.order) {
		p.stop(a.AttemptKey)
	}
	p.sayGoodbye()
}

// endEndless ends what would run for ever, except what its servers want to end: they have to say so.
func (p *process) endEndless() {
	for _, a := range slices.Clone(p.order) {
		j := p.w.model.Jobs[a.Job]
		if !a.endless || a.state != runs {
			continue
		}
		if j != nil && j.Tasks[a.Index].Token == a.Token && j.Tasks[a.Index].State == task.Stopping {
			continue
		}
		p.end(a, task.OutcomeSucceeded, task.NoReason)
	}
}

func (p *process) sayGoodbye() {
	if l := p.link; p.leaving && len(p.order) == 0 && l != nil {
		l.up(l.goodbye)
	}
}

// groupsOf makes report groups of attempts: one for neighbours that ended alike.
func groupsOf(some []*attempt) (groups []*logpb.ReportGroup) {
	for _, a := range some {
		out, missing := []byte(nil), uint64(0)
		if a.outcome == task.OutcomeSucceeded {
			out, missing = []byte(a.Output()), a.Missing()
		}
		if n := len(groups); n > 0 {
			g := groups[n-1]
			last := g.Ranges[len(g.Ranges)-1]
			if g.Job == a.Job && g.TokenOffset == a.Offset() && g.Outcome == uint32(a.outcome) && g.Reason == uint32(a.reason) &&
				g.Permanent == a.permanent && g.OutputMissing == missing && last.First+last.Count == a.Index {
				last.Count++
				g.PackedOutputs = task.PackAppend(g.PackedOutputs, out)
				continue
			}
		}
		groups = append(groups, &logpb.ReportGroup{
			Job: a.Job, TokenOffset: a.Offset(), Ranges: []*logpb.Range{{First: a.Index, Count: 1}}, Outcome: uint32(a.outcome),
			Reason: uint32(a.reason), Permanent: a.permanent, PackedOutputs: task.PackAppend(nil, out),
			OutputMissing: missing,
		})
	}
	return groups
}
