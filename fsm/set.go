package fsm

import (
	"math/bits"
	"slices"
)

// Set is a set of small numbers, in order: a word for each 64 neighbours of which it has any. So it takes
// no more room than what it has, and whether two sets meet is found out from the smaller one.
type Set []word

type word struct {
	at   int // it is of the numbers from 64*at on
	bits uint64
}

// Has says whether it has i.
func (s Set) Has(i int) bool { return s.word(i/64)&(1<<(i%64)) != 0 }

// Put puts i in.
func (s *Set) Put(i int) {
	k, found := s.find(i / 64)
	if !found {
		*s = slices.Insert(*s, k, word{at: i / 64})
	}
	(*s)[k].bits |= 1 << (i % 64)
}

// remove takes i out.
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

// find returns where the word at a place is, or would be.
func (s Set) find(at int) (k int, found bool) {
	if at < len(s) && s[at].at == at {
		return at, true // none is missing before it
	}
	return slices.BinarySearchFunc(s[:min(at, len(s))], at, func(w word, at int) int { return w.at - at })
}

func (s Set) word(at int) uint64 {
	if k, found := s.find(at); found {
		return s[k].bits
	}
	return 0
}

// each calls f for each number that is in a bit map too, in order, until it returns false.
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

// common is what all of some sets have, and one of two others too. It is found out word by word from the
// smallest of the former.
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

// appendTo appends all of it to an empty set.
func (c *common) appendTo(out Set) Set {
	for _, w := range c.smallest {
		if b := c.word(w.at); b != 0 {
			out = append(out, word{w.at, b})
		}
	}
	return out
}

// each calls f for each number from one on and below another, in order, until it returns false. It says
// whether it never did.
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
