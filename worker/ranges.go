package worker

import (
	"slices"
	"sort"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// key names the tasks that share a job and an offset between index and token. The
// token of task i is i + offset, so a key and an index name one attempt.
type key struct {
	job    uint64
	offset int64
}

func (k key) token(index uint32) uint64 { return uint64(int64(index) + k.offset) }

// indexRange is the indexes first to end - 1.
type indexRange struct{ first, end uint32 }

// rangeOf converts a range of the wire; ok is false where it is empty or beyond what
// a job can have.
func rangeOf(r *rotav1.IndexRange) (indexRange, bool) {
	if r.GetCount() == 0 || uint64(r.GetFirst())+uint64(r.GetCount()) > task.MaxTasks {
		return indexRange{}, false
	}
	return indexRange{r.GetFirst(), r.GetFirst() + r.GetCount()}, true
}

// indexSet is a set of indexes as sorted, disjoint, non-adjacent ranges. Tasks come
// and go in runs, so it stays short whatever the number of tasks.
type indexSet struct{ ranges []indexRange }

// count is how many of r the set has.
func (s *indexSet) count(r indexRange) (n int) {
	s.each(r, func(part indexRange, in bool) {
		if in {
			n += int(part.end - part.first)
		}
	})
	return n
}

func (s *indexSet) empty() bool { return len(s.ranges) == 0 }

// from is the position of the first range that ends behind index.
func (s *indexSet) from(index uint32) int {
	return sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].end > index })
}

func (s *indexSet) has(index uint32) bool {
	i := s.from(index)
	return i < len(s.ranges) && s.ranges[i].first <= index
}

func (s *indexSet) add(r indexRange) {
	// The ranges that overlap r or touch it become one with it.
	i := sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].end >= r.first })
	j := i
	for j < len(s.ranges) && s.ranges[j].first <= r.end {
		r.first = min(r.first, s.ranges[j].first)
		r.end = max(r.end, s.ranges[j].end)
		j++
	}
	s.ranges = slices.Replace(s.ranges, i, j, r)
}

func (s *indexSet) remove(r indexRange) {
	i := s.from(r.first)
	j := i
	var rest [2]indexRange
	n := 0
	for j < len(s.ranges) && s.ranges[j].first < r.end {
		if have := s.ranges[j]; have.first < r.first {
			rest[n] = indexRange{have.first, r.first}
			n++
		}
		if have := s.ranges[j]; have.end > r.end {
			rest[n] = indexRange{r.end, have.end}
			n++
		}
		j++
	}
	if i < j {
		s.ranges = slices.Replace(s.ranges, i, j, rest[:n]...)
	}
}

// each calls f for the parts of r, in order: in says whether the set has them.
func (s *indexSet) each(r indexRange, f func(part indexRange, in bool)) {
	for i := s.from(r.first); i < len(s.ranges) && s.ranges[i].first < r.end; i++ {
		have := s.ranges[i]
		if r.first < have.first {
			f(indexRange{r.first, have.first}, false)
			r.first = have.first
		}
		f(indexRange{r.first, min(have.end, r.end)}, true)
		r.first = min(have.end, r.end)
	}
	if r.first < r.end {
		f(r, false)
	}
}

// setOf is the well-formed ranges of h.
func setOf(h *rotav1.HeldTasks) (key, *indexSet) {
	s := &indexSet{}
	for _, r := range h.GetRanges() {
		if r, ok := rangeOf(r); ok {
			s.add(r)
		}
	}
	return key{h.GetJobId(), h.GetTokenOffset()}, s
}

func wireRanges(ranges []indexRange) []*rotav1.IndexRange {
	// One allocation for all of them.
	backing := make([]rotav1.IndexRange, len(ranges))
	out := make([]*rotav1.IndexRange, len(ranges))
	for i, r := range ranges {
		backing[i].First, backing[i].Count = r.first, r.end-r.first
		out[i] = &backing[i]
	}
	return out
}
