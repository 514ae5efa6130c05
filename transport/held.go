package transport

import (
	"cmp"
	"slices"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
)

// heldKey is what tasks have in common that a worker and the servers compare in ranges.
type heldKey struct {
	job    uint64
	offset int64
}

// heldLists is what two sides believe a session to hold, by key: sorted and disjoint.
type heldLists map[heldKey][]indexSpan

// indexSpan is the indexes from first to end, end not among them. 64 bits leave room for any
// sum of what a message says.
type indexSpan struct{ first, end uint64 }

// heldBy is what a hello lists.
func heldBy(h *rotav1.Hello) heldLists {
	lists := heldLists{}
	for _, held := range h.GetHeld() {
		k := heldKey{held.GetJobId(), held.GetTokenOffset()}
		for _, r := range held.GetRanges() {
			lists[k] = append(lists[k], indexSpan{uint64(r.GetFirst()), uint64(r.GetFirst()) + uint64(r.GetCount())})
		}
	}
	for k, spans := range lists {
		lists[k] = merged(spans)
	}
	return lists
}

// merged sorts spans and makes one of those that touch.
func merged(spans []indexSpan) []indexSpan {
	slices.SortFunc(spans, func(a, b indexSpan) int { return cmp.Compare(a.first, b.first) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.first <= out[n-1].end {
			out[n-1].end = max(out[n-1].end, s.end)
			continue
		}
		out = append(out, s)
	}
	return out
}

// add puts in a grant behind those of the same key.
func (l heldLists) add(g fsm.Grant) {
	k := heldKey{g.Job, g.TokenOffset}
	l[k] = append(l[k], indexSpan{uint64(g.First), uint64(g.First) + uint64(g.Count)})
}

// without calls f for each part of s that is in none of spans, which are sorted and
// disjoint.
func without(s indexSpan, spans []indexSpan, f func(indexSpan)) {
	at, _ := slices.BinarySearchFunc(spans, s.first, func(o indexSpan, first uint64) int {
		if o.end <= first {
			return -1
		}
		return 1
	})
	for ; at < len(spans) && spans[at].first < s.end; at++ {
		if o := spans[at]; s.first < o.first {
			f(indexSpan{s.first, o.first})
		}
		s.first = spans[at].end
	}
	if s.first < s.end {
		f(s)
	}
}

// beyond is what of these lists is not in others, for a worker to drop.
func (l heldLists) beyond(others heldLists) (out []*rotav1.HeldTasks) {
	for k, spans := range l {
		h := &rotav1.HeldTasks{JobId: k.job, TokenOffset: k.offset}
		for _, s := range spans {
			without(s, others[k], func(s indexSpan) {
				h.Ranges = append(h.Ranges, &rotav1.IndexRange{First: uint32(s.first), Count: uint32(s.end - s.first)})
			})
		}
		if len(h.Ranges) > 0 {
			out = append(out, h)
		}
	}
	return out
}
