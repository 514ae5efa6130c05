package fsm

import "slices"

// span is the indexes lo to hi-1.
type span struct{ lo, hi uint32 }

// rangeSet is a set of indexes as sorted, disjoint, non-adjacent spans. It holds
// tasks that were granted and came back: few, and mostly in runs.
type rangeSet []span

// find returns the place of the first span that ends behind i.
func (s rangeSet) find(i uint32) int {
	k, _ := slices.BinarySearchFunc(s, i, func(sp span, i uint32) int {
		if sp.hi <= i {
			return -1
		}
		return 1
	})
	return k
}

func (s rangeSet) has(i uint32) bool {
	k := s.find(i)
	return k < len(s) && s[k].lo <= i
}

func (s *rangeSet) add(i uint32) {
	k := s.find(i)
	set := *s
	if k < len(set) && set[k].lo <= i {
		return
	}
	joinsLeft := k > 0 && set[k-1].hi == i
	joinsRight := k < len(set) && set[k].lo == i+1
	switch {
	case joinsLeft && joinsRight:
		set[k-1].hi = set[k].hi
		*s = slices.Delete(set, k, k+1)
	case joinsLeft:
		set[k-1].hi = i + 1
	case joinsRight:
		set[k].lo = i
	default:
		*s = slices.Insert(set, k, span{i, i + 1})
	}
}

func (s *rangeSet) remove(i uint32) {
	k := s.find(i)
	set := *s
	if k == len(set) || set[k].lo > i {
		return
	}
	sp := set[k]
	switch {
	case sp.lo == i && sp.hi == i+1:
		*s = slices.Delete(set, k, k+1)
	case sp.lo == i:
		set[k].lo++
	case sp.hi == i+1:
		set[k].hi--
	default:
		set[k].hi = i
		*s = slices.Insert(set, k+1, span{i + 1, sp.hi})
	}
}

func (s rangeSet) count() uint32 {
	n := uint32(0)
	for _, sp := range s {
		n += sp.hi - sp.lo
	}
	return n
}

// each calls f for each span, in order, until it returns false, and then returns false too.
func (s rangeSet) each(f func(lo, count uint32) bool) bool {
	for _, sp := range s {
		if !f(sp.lo, sp.hi-sp.lo) {
			return false
		}
	}
	return true
}
