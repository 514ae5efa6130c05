package scheduler

import (
	"slices"

	"github.com/rota-scheduler/rota/task"
)

// candidates is workers that can run a class, and has what policies need to choose among
// thousands of them. While it is in use, the room of workers only shrinks.
type candidates struct {
	workers []*worker
	// byLoad is a heap of those with room, by load as it was when each was put in place.
	byLoad []loaded
	// open is those with room; the second, those with room for exclusive tasks.
	open [2][]*worker
}

// policy picks, among workers that can run a class, the one for its next chunk, or nil
// where none has room. It must depend on its arguments only; what it keeps in them must not
// change what it picks.
type policy func(c *candidates, exclusive bool, seed, turn uint64) *worker

var policies = map[task.Policy]policy{
	task.LeastLoaded: leastLoaded,
	task.Random:      random,
}

func policyOf(p task.Policy) policy {
	if f := policies[p]; f != nil {
		return f
	}
	return leastLoaded
}

// loaded is the place of a worker in the list, and the load that it is in line with.
type loaded struct{ at, load uint32 }

// before says whether a has a lower share of its slots taken than b, or as much and is listed
// first.
func (c *candidates) before(a, b loaded) bool {
	// a.load/a.slots < b.load/b.slots, without division.
	x, y := uint64(a.load)*uint64(c.workers[b.at].Slots), uint64(b.load)*uint64(c.workers[a.at].Slots)
	return x < y || x == y && a.at < b.at
}

// leastLoaded picks the worker with the lowest share of its slots taken, the first of
// several.
func leastLoaded(c *candidates, exclusive bool, _, _ uint64) *worker {
	if c.byLoad == nil {
		c.byLoad = make([]loaded, len(c.workers))
		for i, w := range c.workers {
			c.byLoad[i] = loaded{uint32(i), w.load}
		}
		for i := len(c.byLoad)/2 - 1; i >= 0; i-- {
			c.sink(i)
		}
	}
	for len(c.byLoad) > 0 {
		first := &c.byLoad[0]
		w := c.workers[first.at]
		switch {
		case w.room(false) == 0:
			last := len(c.byLoad) - 1
			*first = c.byLoad[last]
			c.byLoad = c.byLoad[:last]
			c.sink(0)
		case first.load != w.load:
			// It was given tasks since. The others have at least the load that they are in line
			// with, so the first that has no more is the least loaded of all.
			first.load = w.load
			c.sink(0)
		case exclusive && w.room(true) == 0:
			return nil // all its slots are taken, and so are everybody's
		default:
			return w
		}
	}
	return nil
}

// sink moves the element at i of the heap down to its place.
func (c *candidates) sink(i int) {
	h := c.byLoad
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if c.before(h[child], h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// random picks any worker with room, each with the same chance. It is simple, and may
// be uneven.
func random(c *candidates, exclusive bool, seed, turn uint64) *worker {
	open := &c.open[0]
	if exclusive {
		open = &c.open[1]
	}
	if *open == nil {
		*open = slices.Clone(c.workers)
	}
	// One that has no room is not asked again. To draw anew leaves the others the same chance.
	for draw := uint64(0); len(*open) > 0; draw++ {
		i := int(task.Mix(seed, turn, draw) % uint64(len(*open)))
		if w := (*open)[i]; w.room(exclusive) > 0 {
			return w
		}
		last := len(*open) - 1
		(*open)[i] = (*open)[last]
		*open = (*open)[:last]
	}
	return nil
}
