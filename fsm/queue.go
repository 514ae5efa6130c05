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
	// tasks is those of its jobs that have not ended, by state. shown: metrics show the queue by name.
	tasks [task.NumStates]uint64
	shown bool
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
