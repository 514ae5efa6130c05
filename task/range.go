package task

import (
	"iter"
	"slices"
	"sort"
)

// Range is the indexes First to First+Count-1 of a job's tasks.
type Range struct{ First, Count uint32 }

// RangeTo returns the range of the indexes from first up to end, without end.
func RangeTo(first, end uint32) Range { return Range{First: first, Count: end - first} }

// Valid says whether a job can have these tasks, and whether there is at least one. The end of a range that is not valid may
// not fit into 32 bits.
func (r Range) Valid() bool {
	return r.Count > 0 && uint64(r.First)+uint64(r.Count) <= MaxTasks
}

// End is the index behind the last one.
func (r Range) End() uint32 { return r.First + r.Count }

// Has says whether i is one of the indexes.
func (r Range) Has(i uint32) bool { return i >= r.First && i < r.End() }

// leafRanges is how many ranges a leaf of a set has at most. So an insert moves at most 2 KiB, and the largest set, of five
// million ranges, has about 40,000 leaves.
const leafRanges = 256

// RangeSet is a set of indexes. It keeps them in order, as disjoint ranges that do not touch. Tasks come and go in runs, so
// mostly there are few ranges, whatever the number of tasks. If millions of tasks come one by one, in any order, each costs
// a search and a move within one leaf. The zero value is an empty set. Do not copy a set that has indexes, and do not
// change it while you go through it.
type RangeSet struct {
	// leaves has the ranges in order; no leaf is empty.
	leaves [][]Range
	count  uint32
}

// Count is how many indexes there are.
func (s *RangeSet) Count() uint32 { return s.count }

// Empty says that there is none.
func (s *RangeSet) Empty() bool { return s.count == 0 }

// place is the place of a range: its leaf, and its place in there.
type place struct{ leaf, at int }

// find returns the place of the first range that ends after i, or the place after all leaves.
func (s *RangeSet) find(i uint32) place {
	leaf := sort.Search(len(s.leaves), func(k int) bool {
		l := s.leaves[k]
		return l[len(l)-1].End() > i
	})
	if leaf == len(s.leaves) {
		return place{leaf: leaf}
	}
	l := s.leaves[leaf]
	return place{leaf, sort.Search(len(l), func(k int) bool { return l[k].End() > i })}
}

// Has says whether i is in the set.
func (s *RangeSet) Has(i uint32) bool {
	p := s.find(i)
	return p.leaf < len(s.leaves) && s.leaves[p.leaf][p.at].First <= i
}

// Add puts in the indexes of a range. The set may have some of them already.
func (s *RangeSet) Add(r Range) {
	if r.Count == 0 {
		return
	}
	// Ranges that overlap or touch the new one become one with it.
	from := s.find(max(r.First, 1) - 1)
	to := s.through(from, func(have Range) bool {
		if have.First > r.End() {
			return false
		}
		r = RangeTo(min(r.First, have.First), max(r.End(), have.End()))
		return true
	})
	s.replace(from, to, r)
}

// Remove takes out the indexes of a range. The set may lack some of them.
func (s *RangeSet) Remove(r Range) {
	if r.Count == 0 {
		return
	}
	var rest [2]Range
	n := 0
	keep := func(first, end uint32) {
		if first < end {
			rest[n] = RangeTo(first, end)
			n++
		}
	}
	from := s.find(r.First)
	to := s.through(from, func(have Range) bool {
		if have.First >= r.End() {
			return false
		}
		keep(have.First, r.First)
		keep(r.End(), have.End())
		return true
	})
	if from != to {
		s.replace(from, to, rest[:n]...)
	}
}

// through returns the first place, from one on, whose range f does not take; the place after all leaves if f takes all.
func (s *RangeSet) through(p place, f func(Range) bool) place {
	for ; p.leaf < len(s.leaves); p = (place{p.leaf + 1, 0}) {
		for l := s.leaves[p.leaf]; p.at < len(l); p.at++ {
			if !f(l[p.at]) {
				return p
			}
		}
	}
	return p
}

// replace puts ranges in place of those from one place up to another.
func (s *RangeSet) replace(from, to place, with ...Range) {
	switch {
	case from.leaf < len(s.leaves):
	case from.leaf == 0:
		s.leaves = append(s.leaves, nil)
		to = from
	default: // after all others, in the last leaf
		from = place{from.leaf - 1, len(s.leaves[from.leaf-1])}
		to = from
	}
	if to.leaf > from.leaf {
		to = s.cut(from, to)
	}
	l := s.leaves[from.leaf]
	s.count += countOf(with) - countOf(l[from.at:to.at])
	s.leaves[from.leaf] = slices.Replace(l, from.at, to.at, with...)
	s.balance(from.leaf)
}

// cut takes out the ranges between two places in different leaves, and returns the end of the first place's leaf.
func (s *RangeSet) cut(from, to place) place {
	first := s.leaves[from.leaf]
	s.count -= countOf(first[from.at:])
	s.leaves[from.leaf] = first[:from.at]
	for _, l := range s.leaves[from.leaf+1 : to.leaf] {
		s.count -= countOf(l)
	}
	if to.at > 0 {
		last := s.leaves[to.leaf]
		s.count -= countOf(last[:to.at])
		s.leaves[to.leaf] = slices.Delete(last, 0, to.at)
	}
	s.leaves = slices.Delete(s.leaves, from.leaf+1, to.leaf)
	return from
}

// balance splits a leaf that is too large, and joins a small one with the next, so that the number of leaves follows that of
// ranges.
func (s *RangeSet) balance(leaf int) {
	switch l := s.leaves[leaf]; {
	case len(l) == 0:
		s.leaves = slices.Delete(s.leaves, leaf, leaf+1)
	case len(l) > leafRanges:
		half := len(l) / 2
		s.leaves[leaf] = l[:half]
		s.leaves = slices.Insert(s.leaves, leaf+1, append(make([]Range, 0, leafRanges+1), l[half:]...))
	case len(l) < leafRanges/4 && leaf+1 < len(s.leaves) && len(l)+len(s.leaves[leaf+1]) <= leafRanges/2:
		s.leaves[leaf] = append(l, s.leaves[leaf+1]...)
		s.leaves = slices.Delete(s.leaves, leaf+1, leaf+2)
	}
}

func countOf(ranges []Range) (n uint32) {
	for _, r := range ranges {
		n += r.Count
	}
	return n
}

// All goes through the ranges, in order.
func (s *RangeSet) All() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for _, l := range s.leaves {
			for _, r := range l {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Parts goes through the parts of a range, in order, and says of each whether the set has it.
func (s *RangeSet) Parts(r Range) iter.Seq2[Range, bool] {
	return func(yield func(Range, bool) bool) {
		if r.Count == 0 {
			return
		}
		first, more := r.First, true
		s.through(s.find(first), func(have Range) bool {
			if have.First >= r.End() {
				return false
			}
			if first < have.First {
				if more = yield(RangeTo(first, have.First), false); !more {
					return false
				}
				first = have.First
			}
			end := min(have.End(), r.End())
			more = yield(RangeTo(first, end), true)
			first = end
			return more
		})
		if more && first < r.End() {
			yield(RangeTo(first, r.End()), false)
		}
	}
}
