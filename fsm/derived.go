package fsm

import (
	"github.com/tidwall/btree"

	"github.com/rota-scheduler/rota/task"
)

// derived is what only the leader's scheduler asks for: which jobs have something to grant, in which order, who could run
// it, and when to look again. It follows from what is replicated and from the time to which Advance was called. Every server
// keeps it up to date as it applies entries, so that a new leader need not build it; a server may throw it away at any
// time and derive it anew. It is in no digest and on no disk, and servers may differ in it.
//
// Apply writes to it and never decides by it. A view only reads it. One thing is lost with it: in which order queues
// were served. Then they stand in the order of their jobs.
type derived struct {
	// Who can run what: see abilities.go.
	able     []*abilities  // by place; nil: the place is free
	ableFree []int         // places
	offering map[offer]Set // places in able of those that offer it
	fleet    uint64        // counts the abilities that have come, joined is the newest of them
	joined   [maxJoined]*abilities

	// The lines of jobs: see queue.go, class.go and pool.go.
	classes  map[string]*class
	queues   map[string]*queue
	turns    uint64                     // counts the turns of queues
	ready    btree.Map[uint64, *queue]  // those with jobs in line, by turn
	outdated *btree.Map[uint64, *queue] // those of them that Advance has to see to
	grouped  uint64                     // the fleet of which outdated tells

	// What metrics show of queues: those that are shown by name, and the tasks of all others.
	shown   []*queue
	unshown [task.NumStates]uint64

	// When something may change: see timers.go.
	timers    *btree.BTreeG[timer]
	deadlines *btree.BTreeG[timer]
	advanced  int64 // the time up to which Advance has looked at timers
}

func newDerived() derived {
	return derived{
		offering:  map[offer]Set{},
		classes:   map[string]*class{},
		queues:    map[string]*queue{},
		outdated:  &btree.Map[uint64, *queue]{},
		timers:    newTimers(),
		deadlines: newTimers(),
	}
}

// jobDerived is what of a job is derived.
type jobDerived struct {
	// due: the earliest start has come, as far as Advance has looked.
	due bool
	// inReady: it stands in the line of its class.
	inReady bool
	// deadline is the next moment at which the leader must look at it; 0: there is none.
	deadline int64
	// returned is the touched tasks that can be granted again, as far as Advance has looked; nil: there are none. Few
	// jobs ever have any.
	returned *task.RangeSet
}

// specDerived is what of a spec is derived.
type specDerived struct {
	// class is where jobs of this spec stand in line.
	class *class
}

// sessionDerived is what of a session is derived.
type sessionDerived struct {
	// member is its place among those that share its abilities.
	member int
}

// abilitiesDerived is what of abilities is derived.
type abilitiesDerived struct {
	// at is their place in able, and in the sets of those that accept a class.
	at int
	// members is the sessions that share them: first those with a free slot, idle of them, so that
	// one is found without a look at the others.
	members []*session
	idle    int
}

// derive throws away what is derived, and computes it from what is replicated. Advance does the rest.
func (m *Machine) derive() {
	m.derived = newDerived()
	for _, a := range m.abilities {
		a.abilitiesDerived = abilitiesDerived{}
	}
	m.sessionOrder.Scan(func(_ uint64, s *session) bool {
		s.sessionDerived = sessionDerived{}
		m.join(s)
		return true
	})
	for _, s := range m.specs {
		s.specDerived = specDerived{}
	}
	m.jobOrder.Scan(func(_ uint64, j *job) bool {
		j.jobDerived = jobDerived{}
		if j.spec.class == nil {
			j.spec.class = m.classOf(j.spec.Spec)
		}
		if !j.final() {
			m.deriveJob(j)
			m.count(j, true)
		}
		return true
	})
}

func (m *Machine) deriveJob(j *job) {
	if j.notBefore > 0 {
		m.timers.Set(timer{at: j.notBefore, job: j.id, kind: startTimer})
	} else {
		j.due = true
	}
	left := j.live
	for n := uint32(0); left > 0; n++ {
		p := j.page(n)
		if p == nil {
			continue
		}
		for k := range p.slots {
			s, i := &p.slots[k], n*pageSize+uint32(k)
			if s.state == 0 || s.state.Final() {
				continue
			}
			left--
			switch {
			case s.state == task.Scheduled:
				m.timers.Set(timer{at: s.at, job: j.id, index: i, kind: retryTimer})
			case s.state == task.Pending && !j.sweepsOver(i):
				j.comesBack(i)
			}
		}
	}
	m.updateReady(j)
	m.updateDeadline(j)
}
