package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/tidwall/btree"
)

// pool is the workers that can run some classes of a queue, and those of these classes that have jobs in line. A view
// asks once for all of them whether there is room, and goes through as many as it can show, however many there are.
type pool struct {
	key       string
	accepting Set
	exclusive bool
	// line is the classes in order of their heads, place where the pool stands in pools.list.
	line  *btree.BTreeG[*class]
	place int
}

// pools is those of a queue. Only views need them, which only a leader takes: so they are brought up to date
// for a view, and not by each entry.
type pools struct {
	// fleet is the fleet that they are of: see Machine.fleet.
	fleet uint64
	byKey map[string]*pool
	list  []*pool // in no order
}

// current says whether all classes of a queue with jobs in line stand in their pools where they should.
func (q *queue) current(fleet uint64) bool { return q.outdated == 0 && q.pools.fleet == fleet }

// regroup puts those classes of a queue in their pools that do not stand where they should, and returns how
// many these were. What that takes goes with what has changed since the last time.
func (q *queue) regroup(m *Machine) (changed int) {
	q.follow(m)
	var set Set
	for _, c := range q.ready[:q.outdated] {
		if c.pool == nil {
			accepting := m.accepting(&c.needs)
			set = accepting.appendTo(set[:0])
			c.pool = q.pools.of(c, set)
		} else {
			c.pool.line.Delete(c)
		}
		c.head, _ = c.line.Min()
		c.pool.line.Set(c)
	}
	changed, q.outdated = q.outdated, 0
	return changed
}

// follow takes classes out of their pools that other workers can run now than when those were made.
func (q *queue) follow(m *Machine) {
	if q.pools.fleet == m.fleet && q.pools.byKey != nil {
		return
	}
	joined, all := m.joinedSince(q.pools.fleet)
	if !all || q.pools.byKey == nil {
		for _, c := range q.ready {
			c.pool = nil
		}
		q.pools, q.outdated = pools{fleet: m.fleet, byKey: map[string]*pool{}}, len(q.ready)
		return
	}
	q.pools.fleet = m.fleet
	for _, c := range q.ready {
		if c.pool != nil && slices.ContainsFunc(joined, func(a *abilities) bool { return a.accept(&c.needs) != c.pool.accepting.Has(a.at) }) {
			q.pools.leave(c)
			q.outdate(c) // what changes places with it was looked at
		}
	}
}

// of returns the pool of a class that these abilities accept.
func (p *pools) of(c *class, accepting Set) *pool {
	var buf [64]byte // enough for a fleet of a few kinds
	key := append(buf[:0], 0)
	if c.needs.exclusive {
		key[0] = 1
	}
	for _, w := range accepting {
		key = binary.BigEndian.AppendUint32(key, uint32(w.at))
		key = binary.BigEndian.AppendUint64(key, w.bits)
	}
	if found := p.byKey[string(key)]; found != nil {
		return found
	}
	fresh := &pool{key: string(key), accepting: slices.Clone(accepting), exclusive: c.needs.exclusive, place: len(p.list)}
	fresh.line = btree.NewBTreeGOptions(func(a, b *class) bool { return a.head.before(b.head) }, btree.Options{NoLocks: true})
	p.byKey[fresh.key] = fresh
	p.list = append(p.list, fresh)
	return fresh
}

// leave takes a class out of its pool, which goes with its last one.
func (p *pools) leave(c *class) {
	from := c.pool
	c.pool = nil
	if from.line.Delete(c); from.line.Len() > 0 {
		return
	}
	last := len(p.list) - 1
	p.list[from.place] = p.list[last]
	p.list[from.place].place = from.place
	p.list[last] = nil
	p.list = p.list[:last]
	delete(p.byKey, from.key)
}
