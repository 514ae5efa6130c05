package fsm

import "github.com/tidwall/btree"

// span is the indexes lo to hi-1.
type span struct{ lo, hi uint32 }

// rangeSet is a set of indexes as disjoint, non-adjacent spans. It holds tasks that were granted and
// came back: mostly few, and in runs. But a million of them may come back one by one, in any
// order, so the spans stand in a tree and the indexes are counted as they come and go.
type rangeSet struct {
	spans btree.Map[uint32, uint32] // lo to hi
	n     uint32
}

// at returns the last span that begins at or before i.
func (s *rangeSet) at(i uint32) (sp span, ok bool) {
	s.spans.Descend(i, func(lo, hi uint32) bool {
		sp, ok = span{lo, hi}, true
		return false
	})
	return sp, ok
}

func (s *rangeSet) has(i uint32) bool {
	sp, ok := s.at(i)
	return ok && i < sp.hi
}

func (s *rangeSet) add(i uint32) {
	left, ok := s.at(i)
	if ok && i < left.hi {
		return
	}
	s.n++
	joined := span{i, i + 1}
	if ok && left.hi == i {
		joined.lo = left.lo
	}
	if hi, ok := s.spans.Get(i + 1); ok {
		s.spans.Delete(i + 1)
		joined.hi = hi
	}
	s.spans.Set(joined.lo, joined.hi)
}

func (s *rangeSet) remove(i uint32) {
	if s.n == 0 {
		return
	}
	sp, ok := s.at(i)
	if !ok || i >= sp.hi {
		return
	}
	s.n--
	if sp.lo == i {
		s.spans.Delete(i)
	} else {
		s.spans.Set(sp.lo, i)
	}
	if i+1 < sp.hi {
		s.spans.Set(i+1, sp.hi)
	}
}

// clear takes everything out.
func (s *rangeSet) clear() { *s = rangeSet{} }

// count is how many indexes there are.
func (s *rangeSet) count() uint32 { return s.n }

// each calls f for each span, in order, until it returns false, and then returns false too.
func (s *rangeSet) each(f func(lo, count uint32) bool) bool {
	all := true
	s.spans.Scan(func(lo, hi uint32) bool {
		all = f(lo, hi-lo)
		return all
	})
	return all
}
