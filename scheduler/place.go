package scheduler

import (
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxPlaced is the largest number of tasks of a job that is placed with its submit. Larger jobs gain
	// nothing by it: they are not done in one round.
	maxPlaced = 16
	// maxCandidates bounds the workers that Place looks at.
	maxCandidates = 16
)

// Place chooses workers for the tasks of a small job that is being submitted, so that
// submit and first assignment are one entry of the log. It returns nothing if no worker has room, or if
// waiting jobs could use that room. done must be called when the entry was
// applied or failed: until then the room counts as taken.
func (f *Fleet) Place(m *fsm.Machine, spec *task.Spec, count uint32) (assigns []*logpb.Assign, done func()) {
	none := func() {}
	if count == 0 || count > maxPlaced || spec.Delay > 0 || spec.NotBefore > 0 {
		return nil, none
	}
	if spec.Serial {
		count = 1
	}
	if limit := spec.MaxParallel; limit > 0 {
		count = min(count, limit)
	}
	views := m.Candidates(spec, maxCandidates, f.placed.Load())
	if len(views) == 0 {
		return nil, none
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	workers, open := make([]worker, len(views)), make([]*worker, 0, len(views))
	for i := range views {
		s := &views[i]
		if m := f.member(s.ID); m != nil && m.takes(now) {
			workers[i] = worker{SessionView: s, load: s.Assigned + m.reserved, limit: s.Slots + min(f.extra(m, s.Slots), maxHeavy)}
			open = append(open, &workers[i])
		}
	}
	among := &candidates{workers: open}
	taken := map[*Member]uint32{}
	for i := uint32(0); i < count; i++ {
		w := policyOf(spec.Policy)(among, spec.Exclusive(), uint64(i), f.placed.Load())
		if w == nil {
			break
		}
		w.load++
		f.placed.Add(1)
		member := f.member(w.ID)
		member.reserved++
		taken[member]++
		if n := len(assigns); n > 0 && assigns[n-1].Session == w.ID {
			assigns[n-1].Count++
			continue
		}
		assigns = append(assigns, &logpb.Assign{First: i, Count: 1, Session: w.ID})
	}
	return assigns, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for member, n := range taken {
			member.reserved -= n
		}
	}
}
