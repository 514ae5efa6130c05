package transport

import (
	"math/bits"

	"github.com/rota-scheduler/rota/task"
)

// indexSet is a set of task indexes of a job, with a bit for each: 1.2 MB for the largest job.
type indexSet struct {
	words []uint64
	total uint32
}

func newIndexSet(total uint32) *indexSet {
	return &indexSet{words: make([]uint64, (uint64(total)+63)/64), total: total}
}

// add puts in count indexes from first on, as far as the job has them.
func (s *indexSet) add(first, count uint32) {
	for i, end := uint64(first), min(uint64(first)+uint64(count), uint64(s.total)); i < end; {
		n := min(64-i%64, end-i)
		s.words[i/64] |= (^uint64(0) >> (64 - n)) << (i % 64)
		i += n
	}
}

// missing returns the indexes that are not in the set, as ranges: all of them, or the first limit and one more.
func (s *indexSet) missing(limit int) (out []task.Range) {
	for i := s.run(0, 1); i < s.total && len(out) <= limit; {
		end := s.run(i, 0)
		out = append(out, task.Range{First: i, Count: end - i})
		i = s.run(end, 1)
	}
	return out
}

// run returns the first index from i on whose bit is not bit; the number of indexes if there is none.
func (s *indexSet) run(i uint32, bit uint64) uint32 {
	for at := uint64(i); at < uint64(s.total); at = at/64*64 + 64 {
		// Bits that differ from bit are 1 here, and bits before i are 0.
		differ := (s.words[at/64] ^ -bit) >> (at % 64)
		if differ != 0 {
			return uint32(min(at+uint64(bits.TrailingZeros64(differ)), uint64(s.total)))
		}
	}
	return s.total
}
