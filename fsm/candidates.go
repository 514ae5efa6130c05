package fsm

import (
	"math"
	"slices"

	"github.com/rota-scheduler/rota/task"
)

// maxAhead is how many pools and classes with jobs in line Candidates looks at. It is a short cut for small jobs: if it
// takes longer to find out that they overtake nobody, they wait in line.
const maxAhead = 1024

// Candidates returns up to limit sessions that could be given tasks of a new job of this spec at
// once, those with a free slot first. turn says where to begin: which of several alike
// comes first must depend on nothing else. It leaves out sessions that a waiting job could use, of another queue
// or before the new job in its own queue: the new job must not overtake it.
func (m *Machine) Candidates(spec *task.Spec, limit int, turn uint64) []SessionView {
	m.mu.RLock()
	defer m.mu.RUnlock()
	able := m.unclaimed(m.askAround(spec, limit, turn), spec)
	if len(able) == 0 {
		return nil
	}
	out := make([]SessionView, 0, limit)
	take := func(of []*session) {
		for i := range min(len(of), limit-len(out)) {
			s := of[(turn+uint64(i))%uint64(len(of))]
			out = append(out, SessionView{ID: s.pb.Id, Slots: s.slots, Assigned: s.assigned, Able: s.able.at})
		}
	}
	for _, a := range able {
		take(a.members[:a.idle])
	}
	for _, a := range able {
		take(a.members[a.idle:])
	}
	return out
}

// askAround returns up to limit abilities that accept a spec. turn says with which one to begin.
func (m *Machine) askAround(spec *task.Spec, limit int, turn uint64) (out []*abilities) {
	if len(m.able) == 0 {
		return nil
	}
	need := needsOf(spec)
	accepting, from := m.accepting(&need), int(turn%uint64(len(m.able)))
	take := func(i int) bool {
		out = append(out, m.able[i])
		return len(out) < limit
	}
	if accepting.each(from, len(m.able), take) {
		accepting.each(0, from, take)
	}
	return out
}

// unclaimed returns those of able that no waiting job could use which comes before a new job of this spec.
func (m *Machine) unclaimed(able []*abilities, spec *task.Spec) []*abilities {
	left := maxAhead
	m.ready.Scan(func(_ uint64, q *queue) bool {
		lowest := int32(math.MinInt32)
		if q.name == spec.Queue {
			lowest = spec.Priority
		}
		able = m.unclaimedIn(q, able, lowest, &left)
		return len(able) > 0
	})
	return able
}

// unclaimedIn returns those of able that no waiting job of a queue could use, of jobs with the lowest priority or a
// higher one. It looks at up to left pools and classes; if there are more, it returns none.
func (m *Machine) unclaimedIn(q *queue, able []*abilities, lowest int32, left *int) []*abilities {
	some := q.ready
	if q.pools.fleet == m.fleet { // a pool tells of all of its classes
		some = q.ready[:q.outdated]
		for _, p := range q.pools.list {
			if *left--; *left < 0 || len(able) == 0 {
				return nil
			}
			if first, _ := p.line.Min(); first.head.priority >= lowest {
				able = slices.DeleteFunc(able, func(a *abilities) bool { return p.accepting.Has(a.at) })
			}
		}
	}
	for _, c := range some {
		if *left--; *left < 0 || len(able) == 0 {
			return nil
		}
		if first, _ := c.line.Min(); first.priority >= lowest {
			able = slices.DeleteFunc(able, func(a *abilities) bool { return a.accept(&c.needs) })
		}
	}
	return able
}
