package fsm

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/rota-scheduler/rota/task"
)

// SetMostLiveJobs bounds the jobs that have not ended.
func (m *Machine) SetMostLiveJobs(most int) { m.mostLiveJobs = most }

// JobBytes is how many bytes of memory each job takes for itself.
const JobBytes = unsafe.Sizeof(job{})

// back is the tasks that can be granted again.
func back(j *job) (out []task.Range) {
	if j.returned != nil {
		out = slices.Collect(j.returned.All())
	}
	return out
}

// Derive throws away what is derived, and derives it again.
func (m *Machine) Derive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.derive()
}

// DumpDerived writes down all that is derived, in the order in which it stands in memory.
func (m *Machine) DumpDerived() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("advanced to %d, fleet %d, grouped for %d", m.advanced, m.fleet, m.grouped)
	m.jobOrder.Scan(func(id uint64, j *job) bool {
		line("job %d: due %v, ready %v, deadline %d, returned %v", id, j.due, j.inReady, j.deadline, back(j))
		return true
	})
	m.sessionOrder.Scan(func(id uint64, s *session) bool {
		line("session %d: member %d of %d", id, s.member, s.able.at)
		return true
	})
	for at, a := range m.able {
		if a == nil {
			line("abilities %d: none", at)
			continue
		}
		line("abilities %d: %d idle", at, a.idle)
		for _, s := range a.members {
			line("  session %d", s.pb.Id)
		}
	}
	line("free places %v, newest", m.ableFree)
	for _, a := range m.joined {
		line("  %v", a != nil)
	}
	for _, key := range sortedKeys(m.queues) {
		q := m.queues[key]
		_, ready := m.ready.Get(q.turn)
		_, outdated := m.outdated.Get(q.turn)
		line("queue %s, turn %d: ready %v, outdated %v, %d classes, %d of them outdated, pools of fleet %d", key, q.turn, ready, outdated, q.classes, q.outdated, q.pools.fleet)
		for _, c := range q.ready {
			line("  class %q", c.key)
			c.line.Scan(func(p place) bool { line("    job %d", p.job.id); return true })
			if c.pool != nil {
				line("    pool %d, head %d", c.pool.place, c.head.job.id)
			}
		}
		for _, p := range q.pools.list {
			line("  pool %v", p.accepting)
			p.line.Scan(func(c *class) bool { line("    class %q", c.key); return true })
		}
	}
	m.timers.Scan(func(t timer) bool { line("timer %v", t); return true })
	m.deadlines.Scan(func(t timer) bool { line("deadline %v", t); return true })
	return b.String()
}
