package fsm

import "github.com/rota-scheduler/rota/task"

const (
	// maxAsked is of how many abilities Candidates asks whether they will do, and maxAhead how
	// many classes of jobs in line it looks at. It is a short way for small jobs: where it
	// finds nobody soon, they wait in line.
	maxAsked = 256
	maxAhead = 1024
)

// Candidates returns up to limit sessions that could be given tasks of a new job of this spec at
// once, those with a free slot first. turn says where to begin: which of several alike
// comes first must depend on nothing else. There are none that a job in line could use, in
// another queue or before the new one in its own: it must not pass them.
func (m *Machine) Candidates(spec *task.Spec, limit int, turn uint64) []SessionView {
	m.mu.RLock()
	defer m.mu.RUnlock()
	need := needsOf(spec)
	able := m.unclaimed(m.askAround(spec, &need, limit, turn), spec)
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

// askAround returns up to limit abilities that accept a spec, of which need is what it needs.
func (m *Machine) askAround(spec *task.Spec, need *needs, limit int, turn uint64) (out []*abilities) {
	n := len(m.able)
	if n == 0 {
		return nil
	}
	c := m.classes[classKey(spec)]
	for i, asked := int(turn%uint64(n)), 0; asked < n && asked < maxAsked && len(out) < limit; asked++ {
		if a := m.able[i]; a != nil && a.takes(need, c) {
			out = append(out, a)
		}
		if i++; i == n {
			i = 0
		}
	}
	return out
}

// takes is accept, from what is known of the class that has these needs where there is one.
func (a *abilities) takes(n *needs, c *class) bool {
	if c != nil && c.known {
		return c.accepting.Has(a.at)
	}
	return a.accept(n)
}

// unclaimed leaves those of able that no job could use that comes before a new one of this spec.
func (m *Machine) unclaimed(able []*abilities, spec *task.Spec) []*abilities {
	asked := 0
	m.ready.Scan(func(_ string, q *queue) bool {
		for _, c := range q.ready {
			if asked++; asked > maxAhead {
				able = nil
			}
			if first, _ := c.line.Min(); q.name == spec.Queue && first.priority < spec.Priority {
				continue
			}
			for i := 0; i < len(able); {
				if able[i].takes(&c.needs, c) {
					able = append(able[:i], able[i+1:]...)
				} else {
					i++
				}
			}
			if len(able) == 0 {
				return false
			}
		}
		return true
	})
	return able
}
