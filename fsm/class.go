package fsm

import (
	"github.com/tidwall/btree"

	"github.com/rota-scheduler/rota/task"
)

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
	// pool is the one that it stands in, at the place that its head had; nil: none.
	pool *pool
	head place
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

// classOf returns the class of a spec, which counts one more.
func (m *Machine) classOf(s *task.Spec) *class {
	key := classKey(s)
	c := m.classes[key]
	if c == nil {
		c = &class{key: key, needs: needsOf(s), queue: m.queues[s.Queue]}
		if c.queue == nil {
			m.turns++
			c.queue = &queue{name: s.Queue, turn: m.turns}
			m.queues[s.Queue] = c.queue
			m.show(c.queue)
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
		m.hide(c.queue)
	}
}

// lineUp puts j in the line of its class.
func (m *Machine) lineUp(j *job) {
	c, p := j.spec.class, place{j.spec.Priority, j}
	q := c.queue
	if c.line.Len() == 0 {
		if len(q.ready) == 0 {
			m.ready.Set(q.turn, q)
		}
		c.place = len(q.ready)
		q.ready = append(q.ready, c)
		m.outdate(c)
	} else if q.upToDate(c) && p.before(c.head) {
		m.outdate(c)
	}
	c.line.Set(p)
}

// stepOut takes j out of the line of its class.
func (m *Machine) stepOut(j *job) {
	c := j.spec.class
	q := c.queue
	c.line.Delete(place{j.spec.Priority, j})
	if c.needs.exclusive {
		m.wake = true // workers kept a slot for it that others may use now
	}
	if c.line.Len() > 0 {
		if q.upToDate(c) && c.head.job == j {
			m.outdate(c)
		}
		return
	}
	q.leave(c)
	if len(q.ready) == 0 {
		m.ready.Delete(q.turn)
		m.outdated.Delete(q.turn)
	}
}
