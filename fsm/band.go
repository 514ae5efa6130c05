package fsm

import (
	"encoding/binary"
	"slices"

	"github.com/tidwall/btree"
)

// band is the classes of a queue with jobs in line that the same workers can run. A view asks once for all
// of them whether there is room, and goes through as many as it can show, however many there are.
type band struct {
	key       string
	accepting Set
	exclusive bool
	// line is the classes in order of their heads, place where the band stands in bands.list.
	line  *btree.BTreeG[*class]
	place int
}

// bands is those of a queue. Only views need them, which only a leader takes: so a view sees to
// what has changed since the last one.
type bands struct {
	// fleet is the fleet that they are of: see Machine.fleet.
	fleet uint64
	byKey map[string]*band
	list  []*band // in no order
}

// settle puts those classes of a queue in their bands that do not stand where they should. What
// that takes goes with what has changed since the last view.
func (q *queue) settle(m *Machine) {
	q.follow(m)
	var set Set
	for _, c := range q.ready[:q.unsettled] {
		if c.band == nil {
			accepting := m.accepting(&c.needs)
			set = accepting.appendTo(set[:0])
			c.band = q.bands.of(c, set)
		} else {
			c.band.line.Delete(c)
		}
		c.head, _ = c.line.Min()
		c.band.line.Set(c)
	}
	q.unsettled = 0
}

// follow takes classes out of their bands that other workers can run now than when those were made.
func (q *queue) follow(m *Machine) {
	if q.bands.fleet == m.fleet && q.bands.byKey != nil {
		return
	}
	joined, all := m.joinedSince(q.bands.fleet)
	if !all || q.bands.byKey == nil {
		for _, c := range q.ready {
			c.band = nil
		}
		q.bands, q.unsettled = bands{fleet: m.fleet, byKey: map[string]*band{}}, len(q.ready)
		return
	}
	q.bands.fleet = m.fleet
	for _, c := range q.ready {
		if c.band != nil && slices.ContainsFunc(joined, func(a *abilities) bool { return a.accept(&c.needs) != c.band.accepting.Has(a.at) }) {
			q.bands.leave(c)
			q.unsettle(c) // what changes places with it was looked at
		}
	}
}

// of returns the band of a class that these abilities accept.
func (b *bands) of(c *class, accepting Set) *band {
	var buf [64]byte // enough for a fleet of a few kinds
	key := append(buf[:0], 0)
	if c.needs.exclusive {
		key[0] = 1
	}
	for _, w := range accepting {
		key = binary.BigEndian.AppendUint32(key, uint32(w.at))
		key = binary.BigEndian.AppendUint64(key, w.bits)
	}
	if found := b.byKey[string(key)]; found != nil {
		return found
	}
	fresh := &band{key: string(key), accepting: slices.Clone(accepting), exclusive: c.needs.exclusive, place: len(b.list)}
	fresh.line = btree.NewBTreeGOptions(func(a, b *class) bool { return a.head.before(b.head) }, btree.Options{NoLocks: true})
	b.byKey[fresh.key] = fresh
	b.list = append(b.list, fresh)
	return fresh
}

// leave takes a class out of its band, which goes with its last one.
func (b *bands) leave(c *class) {
	from := c.band
	c.band = nil
	if from.line.Delete(c); from.line.Len() > 0 {
		return
	}
	last := len(b.list) - 1
	b.list[from.place] = b.list[last]
	b.list[from.place].place = from.place
	b.list[last] = nil
	b.list = b.list[:last]
	delete(b.byKey, from.key)
}
