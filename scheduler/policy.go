package scheduler

import "github.com/rota-scheduler/rota/task"

// policy picks, among workers that can run a class, the one for its next chunk, or nil
// where none has room. It must depend on its arguments only.
type policy func(workers []*worker, exclusive bool, seed, turn uint64) *worker

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

// leastLoaded picks the worker with the lowest share of its slots taken, the first of
// several.
func leastLoaded(workers []*worker, exclusive bool, _, _ uint64) *worker {
	var best *worker
	for _, w := range workers {
		if w.room(exclusive) == 0 {
			continue
		}
		// a.load/a.slots < b.load/b.slots, without division.
		if best == nil || uint64(w.load)*uint64(best.slots) < uint64(best.load)*uint64(w.slots) {
			best = w
		}
	}
	return best
}

// random picks any worker with room, each with the same chance. It is simple, and may
// be uneven.
func random(workers []*worker, exclusive bool, seed, turn uint64) *worker {
	open := 0
	for _, w := range workers {
		if w.room(exclusive) > 0 {
			open++
		}
	}
	if open == 0 {
		return nil
	}
	pick := int(task.Mix(seed, turn) % uint64(open))
	for _, w := range workers {
		if w.room(exclusive) == 0 {
			continue
		}
		if pick == 0 {
			return w
		}
		pick--
	}
	return nil
}
