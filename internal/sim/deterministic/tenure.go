package deterministic

import (
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

const (
	// lease is how long a session lives without a beat. It is short, so that a run need not be long
	// to see many of them end.
	lease = 2 * time.Second
	// inFlight is how many entries of a leader are on their way at once.
	inFlight = 4
	// electAgain is the wait if nobody can be elected.
	electAgain = 100 * time.Millisecond
)

var (
	errUnknown  = task.Errorf(task.KindUnknownOutcome, "the leader was deposed")
	errNoLeader = task.Errorf(task.KindUnavailable, "this server does not lead")
)

// tenure is a server's time as leader. It goes on for a while when it is deposed: then it
// speaks to those who do not know, and what it proposes is not committed any more.
type tenure struct {
	w     *world
	term  uint64
	r     *replica
	fleet *scheduler.Fleet

	deposed, ended bool
	lanes          [3][]*proposal
	flights        []flight
	lastCommit     time.Duration
	// waiting are the proposals whose outcome is unknown if the tenure ends now.
	waiting []*proposal
	looks   looks
}

// proposal is an op that was handed to a leader. done is called once.
type proposal struct {
	op   *logpb.Op
	done func(fsm.Result, error)
}

// flight is an entry on its way; in place of ops it may have a barrier.
type flight struct {
	version   uint32
	clock     int64
	proposals []*proposal
	barrier   func(error)
}

// elect makes one of the servers the leader.
func (w *world) elect() {
	if w.tenure != nil || w.over {
		return
	}
	var able []*replica
	for _, r := range w.replicas {
		if r.m != nil && !r.isolated {
			able = append(able, r)
		}
	}
	if len(able) < 2 { // no majority
		w.after(electAgain, w.elect)
		return
	}
	r := able[w.below(len(able))]
	w.term++
	w.index++ // the entry with which a leader begins never reaches the machines
	for _, s := range w.early {
		w.counts.Late++
		w.tracef("left by term %d: %v", s.term, names(s.ops))
		w.commit(max(s.term, w.lastTerm()), s.version, s.clock, s.ops)
	}
	w.early = nil
	if w.chance(20) {
		w.configure()
	}
	r.catchUp()
	if len(w.problems) > 0 {
		return
	}
	t := &tenure{w: w, term: w.term, r: r, fleet: scheduler.NewFleet(lease)}
	w.counts.Terms++
	w.tracef("%s leads in term %d", r.name, t.term)
	w.tenure, r.tenure = t, t
	t.fleet.Begin(r.m.Sessions())
	if r.m.ClusterID() == "" {
		t.propose(&logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: "c"}}}, func(fsm.Result, error) {})
	}
	t.record(r)
	t.begin()
}

// depose takes leadership from t, which learns of it at its end.
func (t *tenure) depose() {
	if t.deposed {
		return
	}
	w := t.w
	t.deposed = true
	if w.tenure == t {
		w.tenure = nil
	}
	w.tracef("%s is deposed", t.r.name)
	for _, f := range t.flights {
		w.strand(t.strayOf(f), false)
	}
	t.flights = nil
	w.after(w.between(50*time.Millisecond, 800*time.Millisecond), w.elect)
}

// end is when a deposed leader learns of it: it ends all streams, and those who wait for an
// answer get none.
func (t *tenure) end() {
	if t.ended {
		return
	}
	t.ended = true
	if t.w.zombie == t {
		t.w.zombie = nil
	}
	t.r.tenure, t.r.isolated = nil, false
	t.w.tracef("%s leads no more", t.r.name)
	t.fleet.End()
	for _, p := range t.waiting {
		t.w.after(t.w.latency(), func() { p.answer(fsm.Result{}, errUnknown) })
	}
	t.waiting = nil
	t.r.pullSoon()
}

func (t *tenure) strayOf(f flight) stray {
	s := stray{term: t.term, version: f.version, clock: f.clock}
	for _, p := range f.proposals {
		s.ops = append(s.ops, p.op)
	}
	return s
}

func (p *proposal) answer(r fsm.Result, err error) {
	if p.done != nil {
		done := p.done
		p.done = nil
		done(r, err)
	}
}

// propose queues an op, as the proposer of package node does.
func (t *tenure) propose(op *logpb.Op, done func(fsm.Result, error)) {
	if t.ended {
		done(fsm.Result{}, errNoLeader)
		return
	}
	p := &proposal{op, done}
	l := laneOf(op)
	t.lanes[l] = append(t.lanes[l], p)
	t.waiting = append(t.waiting, p)
	t.w.after(0, t.send)
}

func laneOf(op *logpb.Op) int {
	switch op.Op.(type) {
	case *logpb.Op_Submit, *logpb.Op_AppendTasks:
		return 2
	case *logpb.Op_ApplyPlan:
		return 1
	}
	return 0
}

// barrier calls done when everything that was committed before is applied here, or with an error if t leads no more.
func (t *tenure) barrier(done func(error)) {
	if t.ended {
		done(errNoLeader)
		return
	}
	// At the end it fails, whether it was on its way or not.
	p := &proposal{done: func(_ fsm.Result, err error) { done(err) }}
	t.waiting = append(t.waiting, p)
	t.fly(flight{barrier: func(err error) { p.answer(fsm.Result{}, err) }})
}

// send makes an entry of what waits.
func (t *tenure) send() {
	if t.ended || len(t.flights) >= inFlight {
		return
	}
	var batch []*proposal
	most := 1 + t.w.below(8)
	for l := range t.lanes {
		n := min(most-len(batch), len(t.lanes[l]))
		batch = append(batch, t.lanes[l][:n]...)
		t.lanes[l] = t.lanes[l][n:]
	}
	if len(batch) > 0 {
		t.fly(flight{version: t.w.version(), clock: t.r.stamp(), proposals: batch})
	}
}

// fly puts an entry on its way. A leader's entries are committed in their order.
func (t *tenure) fly(f flight) {
	if t.deposed {
		t.w.strand(t.strayOf(f), true)
		return
	}
	t.flights = append(t.flights, f)
	t.lastCommit = max(t.lastCommit, t.w.now+t.w.latency())
	t.w.after(t.lastCommit-t.w.now, t.land)
}

// land commits the first entry that is on its way.
func (t *tenure) land() {
	if t.deposed {
		return
	}
	f := t.flights[0]
	t.flights = t.flights[1:]
	if f.barrier != nil {
		t.w.index++
		f.barrier(nil)
		t.send()
		return
	}
	ops := t.strayOf(f).ops
	e := t.w.commit(t.term, f.version, f.clock, ops)
	t.r.catchUp()
	if len(t.w.problems) > 0 {
		return
	}
	for i, p := range f.proposals {
		p.answer(e.results[i], e.results[i].Err)
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(p *proposal) bool { return p.done == nil })
	t.send()
}
