package transport

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// heldKey is what tasks have in common that a worker and a server compare as ranges.
type heldKey struct {
	job    uint64
	offset int64
}

// heldTasks is the tasks that a session holds, as one of the two sides knows it.
type heldTasks map[heldKey]*task.RangeSet

// heldBy is the tasks that a hello lists. Its ranges have been checked.
func heldBy(h *rotav1.Hello) heldTasks {
	held := heldTasks{}
	for _, listed := range h.GetHeld() {
		for _, r := range listed.GetRanges() {
			held.add(heldKey{listed.GetJobId(), listed.GetTokenOffset()}, wire.RangeFromProto(r))
		}
	}
	return held
}

func (h heldTasks) add(k heldKey, r task.Range) {
	s := h[k]
	if s == nil {
		s = &task.RangeSet{}
		h[k] = s
	}
	s.Add(r)
}

// without calls f for each part of a range that is not held under a key.
func (h heldTasks) without(k heldKey, r task.Range, f func(task.Range)) {
	s := h[k]
	if s == nil {
		f(r)
		return
	}
	for part, held := range s.Parts(r) {
		if !held {
			f(part)
		}
	}
}

// beyond is those of these tasks that others do not hold. The worker drops them.
func (h heldTasks) beyond(others heldTasks) (out []*rotav1.HeldTasks) {
	for k, s := range h {
		var ranges []task.Range
		for r := range s.All() {
			others.without(k, r, func(part task.Range) { ranges = append(ranges, part) })
		}
		if len(ranges) > 0 {
			out = append(out, &rotav1.HeldTasks{JobId: k.job, TokenOffset: k.offset, Ranges: wire.RangesToProto(ranges)})
		}
	}
	return out
}

// heldOf is one range of tasks, for a message.
func heldOf(job uint64, offset int64, r task.Range) *rotav1.HeldTasks {
	return &rotav1.HeldTasks{JobId: job, TokenOffset: offset, Ranges: []*rotav1.IndexRange{wire.RangeToProto(r)}}
}
