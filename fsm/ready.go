package fsm

import (
	"github.com/tidwall/btree"

	"github.com/rota-scheduler/rota/task"
)

// queue is the classes of one queue. Queues take turns, and within a queue strict priority
// holds, so jobs stand in line by queue.
type queue struct {
	name    string
	classes int
	// ready is its classes with jobs in line, in no order.
	ready []*class
}

// class is the jobs of a queue that can run in the same places. They have a line of their own,
// so that one class that no worker has room for does not hide the others.
type class struct {
	key   string
	needs needs
	// specs counts the specs of the class: with the last one it goes.
	specs int
	queue *queue
	// line is the jobs with tasks that can be granted now, place where the class stands in
	// queue.ready while there are any.
	line  *btree.BTreeG[place]
	place int
	// accepting is the abilities that can run it, where known: see Machine.accepts.
	accepting Set
	known     bool
}

// place is where a job stands in line: by priority, then in order of submit.
type place struct {
	priority int32
	job      *job
}

func (p place) before(other place) bool {
	if p.priority != other.priority {
		return p.priority > other.priority
	}
	return p.job.id < other.job.id
}

func (m *Machine) classOf(s *task.Spec) *class {
	key := classKey(s)
	c := m.classes[key]
	if c == nil {
		c = &class{key: key, needs: needsOf(s), queue: m.queues[s.Queue]}
		if c.queue == nil {
			c.queue = &queue{name: s.Queue}
			m.queues[s.Queue] = c.queue
		}
		c.queue.classes++
		c.line = btree.NewBTreeGOptions(place.before, btree.Options{NoLocks: true})
		m.classes[key] = c
	}
	c.specs++
	return c
}

// dropClass forgets a class of which there is no spec any more.
func (m *Machine) dropClass(c *class) {
	delete(m.classes, c.key)
	if c.queue.classes--; c.queue.classes == 0 {
		delete(m.queues, c.queue.name)
	}
}

// lineUp puts j in the line of its class.
func (m *Machine) lineUp(j *job) {
	c := j.spec.class
	if c.line.Len() == 0 {
		q := c.queue
		if len(q.ready) == 0 {
			m.ready.Set(q.name, q)
		}
		c.place = len(q.ready)
		q.ready = append(q.ready, c)
	}
	c.line.Set(place{j.spec.Priority, j})
}

// stepOut takes j out of it.
func (m *Machine) stepOut(j *job) {
	c := j.spec.class
	c.line.Delete(place{j.spec.Priority, j})
	if c.line.Len() > 0 {
		return
	}
	q := c.queue
	last := len(q.ready) - 1
	q.ready[c.place] = q.ready[last]
	q.ready[c.place].place = c.place
	q.ready[last] = nil
	q.ready = q.ready[:last]
	if last == 0 {
		m.ready.Delete(q.name)
	}
}

// available is how many tasks of j can be granted now, as far as timers have been
// looked at.
func (j *job) available() uint32 {
	if !j.due || j.open && j.hold || j.sweep != 0 {
		return 0
	}
	held := j.counts.Held()
	untouched := j.total - j.next
	if j.spec.Serial {
		if held == 0 && (j.returned.count() > 0 || j.live == 0 && untouched > 0) {
			return 1
		}
		return 0
	}
	n := j.returned.count() + untouched
	if limit := j.spec.MaxParallel; limit > 0 {
		n = min(n, limit-min(limit, held))
	}
	return n
}

// updateReady puts j in line or takes it out.
func (m *Machine) updateReady(j *job) {
	ready := !j.final() && j.available() > 0
	if ready {
		m.wake = true
	}
	if ready == j.inReady {
		return
	}
	j.inReady = ready
	if ready {
		m.lineUp(j)
	} else {
		m.stepOut(j)
	}
}
