package fsm

import (
	"math/bits"
	"slices"
)

// Set is an ordered set of small numbers. It has one word for each group of 64 neighbours of which it holds any. So its
// size depends only on what it holds, and two sets are compared by walking over the smaller one.
type Set []word

type word struct {
	at   int // it is of the numbers from 64*at on
	bits uint64
}

// Has says whether i is in the set.
func (s Set) Has(i int) bool { return s.word(i/64)&(1<<(i%64)) != 0 }

// Put adds i.
func (s *Set) Put(i int) {
	k, found := s.find(i / 64)
	if !found {
		*s = slices.Insert(*s, k, word{at: i / 64})
	}
	(*s)[k].bits |= 1 << (i % 64)
}

// remove removes i.
func (s *Set) remove(i int) {
	k, found := s.find(i / 64)
	if !found {
		return
	}
	if (*s)[k].bits &^= 1 << (i % 64); (*s)[k].bits == 0 {
		*s = slices.Delete(*s, k, k+1)
	}
}

func (s Set) count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w.bits)
	}
	return n
}

// find returns the index of the word for the numbers from 64*at on, or the index at which to insert it.
func (s Set) find(at int) (k int, found bool) {
	if at < len(s) && s[at].at == at {
		return at, true // no word before it is missing
	}
	return slices.BinarySearchFunc(s[:min(at, len(s))], at, func(w word, at int) int { return w.at - at })
}

func (s Set) word(at int) uint64 {
	if k, found := s.find(at); found {
		return s[k].bits
	}
	return 0
}

// each calls f for each number that is also in the bit map in, in order, until f returns false.
func (s Set) each(in []uint64, f func(i int) bool) {
	for _, w := range s {
		if w.at >= len(in) {
			return
		}
		for b := w.bits & in[w.at]; b != 0; b &= b - 1 {
			if !f(64*w.at + bits.TrailingZeros64(b)) {
				return
			}
		}
	}
}

// common is the numbers that are in each of the sets all, and in one or other. It is computed word by word, along the
// smallest set of all.
type common struct {
	all        []Set
	one, other Set
	smallest   Set
}

func commonOf(all []Set, one, other Set) common {
	return common{all, one, other, slices.MinFunc(all, func(a, b Set) int { return len(a) - len(b) })}
}

func (c *common) word(at int) uint64 {
	b := c.one.word(at) | c.other.word(at)
	for _, s := range c.all {
		b &= s.word(at)
	}
	return b
}

// appendTo appends all numbers to an empty set.
func (c *common) appendTo(out Set) Set {
	for _, w := range c.smallest {
		if b := c.word(w.at); b != 0 {
			out = append(out, word{w.at, b})
		}
	}
	return out
}

// each calls f for each number from from to below - 1, in order, until f returns false. It returns whether f always
// returned true.
func (c *common) each(from, below int, f func(i int) bool) bool {
	k, _ := c.smallest.find(from / 64)
	for _, w := range c.smallest[k:] {
		if 64*w.at >= below {
			break
		}
		for b := c.word(w.at); b != 0; b &= b - 1 {
			i := 64*w.at + bits.TrailingZeros64(b)
			if i >= from && i < below && !f(i) {
				return false
			}
		}
	}
	return true
}
