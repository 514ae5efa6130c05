package fsm

import "github.com/tidwall/btree"

// heads is a heap of lines: at its top is the one whose head comes first. It is how a view goes through
// several in the order of all of them, and looks at no more of each than it shows.
type heads[T interface{ first() place }] []T

// order makes a heap of lines in any order.
func (h heads[T]) order() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.sink(i)
	}
}

// sink moves one down to its place, whose head is another one than it was.
func (h heads[T]) sink(i int) {
	for {
		next := 2*i + 1
		if next >= len(h) {
			return
		}
		if other := next + 1; other < len(h) && h[other].first().before(h[next].first()) {
			next = other
		}
		if !h[next].first().before(h[i].first()) {
			return
		}
		h[i], h[next] = h[next], h[i]
		i = next
	}
}

// pop takes the one at the top out.
func (h *heads[T]) pop() {
	last := len(*h) - 1
	(*h)[0] = (*h)[last]
	*h = (*h)[:last]
	h.sink(0)
}

// line is a class on its way into a view.
type line struct {
	c    *class
	next btree.IterG[place]
	head place
	// at is its place in the view once it is shown, else -1; room how many more tasks, left how
	// many more ranges of it may be shown.
	at, room, left int
}

func (l *line) first() place { return l.head }

// walk goes through the classes of a pool, for each of which there is as much room.
type walk struct {
	pool  *pool
	class *class
	room  int
	// rest is those from class on, once it has gone beyond the first.
	rest btree.IterG[*class]
	far  bool
}

func (w *walk) first() place { return w.class.head }

// next goes on to the next class, and says whether there is one.
func (w *walk) next() bool {
	if !w.far {
		w.far = true
		w.rest.Init(w.pool.line, false)
		w.rest.First()
	}
	if !w.rest.Next() {
		return false
	}
	w.class = w.rest.Item()
	return true
}
