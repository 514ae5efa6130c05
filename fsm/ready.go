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
	// turn is its place among the queues with jobs in line: the lower, the longer ago a plan gave it
	// something. No other queue has the same.
	turn uint64
	// ready is its classes with jobs in line: first those, outdated of them, that do not stand in their pools
	// where they should. See Advance.
	ready    []*class
	outdated int
	pools    pools
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

func (m *Machine) classOf(s *task.Spec) *class {
	key := classKey(s)
	c := m.classes[key]
	if c == nil {
		c = &class{key: key, needs: needsOf(s), queue: m.queues[s.Queue]}
		if c.queue == nil {
			m.turns++
			c.queue = &queue{name: s.Queue, turn: m.turns}
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

// stepOut takes j out of it.
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

// served puts a queue behind all others, for a plan gave it something. So a queue can only be passed over by
// those that stand before it, and by each of them once. What a queue waits for does not matter: one that
// cannot be served keeps its place, and the others keep theirs. A queue that comes new stands behind those
// that are there, or a stream of new ones would keep an old one waiting. Every server keeps these places, none
// stores them: after a restart, queues stand in the order in which their jobs are loaded.
func (m *Machine) served(q *queue) {
	if q.turn == m.turns {
		return // it is the last one
	}
	m.turns++
	for _, line := range []*btree.Map[uint64, *queue]{&m.ready, m.outdated} {
		if _, inLine := line.Delete(q.turn); inLine {
			line.Set(m.turns, q)
		}
	}
	q.turn = m.turns
}

// upToDate says whether a class with jobs in line stands in its pool at the place of its head.
func (q *queue) upToDate(c *class) bool { return c.place >= q.outdated }

// outdate has Advance see to a class.
func (m *Machine) outdate(c *class) {
	q := c.queue
	if q.outdated == 0 {
		m.outdated.Set(q.turn, q)
	}
	q.outdate(c)
}

func (q *queue) outdate(c *class) {
	if q.upToDate(c) {
		q.swap(c.place, q.outdated)
		q.outdated++
	}
}

// leave takes a class out that has no jobs in line any more.
func (q *queue) leave(c *class) {
	if c.pool != nil {
		q.pools.leave(c)
	}
	if !q.upToDate(c) {
		q.outdated--
		q.swap(c.place, q.outdated)
	}
	last := len(q.ready) - 1
	q.swap(c.place, last)
	q.ready[last] = nil
	q.ready = q.ready[:last]
}

func (q *queue) swap(i, k int) {
	of := q.ready
	of[i], of[k] = of[k], of[i]
	of[i].place, of[k].place = i, k
}

// available is how many tasks of j can be granted now, as far as timers have been
// looked at.
func (j *job) available() uint32 {
	if !j.due || j.withheld() {
		return 0
	}
	held := j.counts.Held()
	untouched := j.aheadCount()
	if j.spec.Serial {
		if held == 0 && (j.cameBack() > 0 || j.live == 0 && untouched > 0) {
			return 1
		}
		return 0
	}
	n := j.cameBack() + untouched
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
