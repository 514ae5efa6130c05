package task

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestARangeIsValidWhereAJobCanHaveItsTasks(t *testing.T) {
	t.Parallel()
	for r, valid := range map[Range]bool{
		{0, 0}: false, {0, 1}: true, {0, MaxTasks}: true, {1, MaxTasks}: false, {MaxTasks - 1, 1}: true, {MaxTasks, 1}: false,
		{1 << 31, 1 << 31}: false, {1<<32 - 1, 1<<32 - 1}: false,
	} {
		require.Equal(t, valid, r.Valid(), "%v", r)
	}
}

// sane checks what a set promises about its ranges, and returns its indexes.
func sane(t require.TestingT, s *RangeSet) (indexes []uint32) {
	end, first := uint32(0), true
	for r := range s.All() {
		require.Positive(t, r.Count)
		require.True(t, first || end < r.First, "the ranges touch, or are out of order: %v", s.leaves)
		end, first = r.End(), false
		for i := r.First; i < r.End(); i++ {
			indexes = append(indexes, i)
		}
	}
	require.Len(t, indexes, int(s.Count()))
	require.Equal(t, len(indexes) == 0, s.Empty())
	for _, l := range s.leaves {
		require.NotEmpty(t, l)
		require.LessOrEqual(t, len(l), leafRanges)
	}
	return indexes
}

func TestARangeSetIsASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		// In a small one everything touches; a large one has many leaves.
		most := rapid.SampledFrom([]uint32{8, 64, 20 * leafRanges}).Draw(t, "most")
		var set RangeSet
		want := make([]bool, most)
		put := func(r Range, in bool) {
			if in {
				set.Add(r)
			} else {
				set.Remove(r)
			}
			for i := r.First; i < r.End(); i++ {
				want[i] = in
			}
		}
		if most > 64 {
			for i := uint32(0); i < most; i += 2 {
				put(Range{i, 1}, true)
			}
		}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			first := rapid.Uint32Range(0, most-1).Draw(t, "first")
			count := rapid.Uint32Range(0, min(most-first, rapid.SampledFrom([]uint32{1, 8, most}).Draw(t, "at most"))).Draw(t, "count")
			put(Range{first, count}, rapid.Bool().Draw(t, "add"))
		}
		var all []uint32
		for i, in := range want {
			require.Equal(t, in, set.Has(uint32(i)), "%d", i)
			if in {
				all = append(all, uint32(i))
			}
		}
		require.False(t, set.Has(most))
		require.Equal(t, all, sane(t, &set))
	})
}

func TestThePartsOfARangeAreThoseInASetAndTheOthers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var set RangeSet
		some := rapid.Custom(func(t *rapid.T) Range {
			return Range{rapid.Uint32Range(0, 3*leafRanges).Draw(t, "first"), rapid.Uint32Range(0, 3*leafRanges).Draw(t, "count")}
		})
		for i := uint32(0); i < 4*leafRanges; i += rapid.Uint32Range(2, 5).Draw(t, "gap") {
			set.Add(Range{i, 1})
		}
		for _, r := range rapid.SliceOfN(some, 0, 3).Draw(t, "removed") {
			set.Remove(r)
		}
		of := some.Draw(t, "of")
		next, last, parts := of.First, false, 0
		for part, in := range set.Parts(of) {
			require.Positive(t, part.Count)
			require.Equal(t, next, part.First, "the parts leave a gap")
			require.True(t, parts == 0 || in != last, "two parts are one")
			for i := part.First; i < part.End(); i++ {
				require.Equal(t, set.Has(i), in, "%d", i)
			}
			next, last, parts = part.End(), in, parts+1
		}
		require.Equal(t, of.End(), next)
		stopAfter, seen := rapid.IntRange(1, 4).Draw(t, "stop after"), 0
		for range set.Parts(of) {
			if seen++; seen == stopAfter {
				break
			}
		}
		require.Equal(t, min(stopAfter, parts), seen)
	})
}

// scattered is every other index below 2n, in no order: as many ranges as can be.
func scattered(n int) []uint32 {
	of := make([]uint32, n)
	for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		of[i] = 2 * uint32(k)
	}
	return of
}

func TestALargeRangeSetKeepsFewLeaves(t *testing.T) {
	t.Parallel()
	const n = 100_000
	var set RangeSet
	of := scattered(n)
	for _, i := range of {
		set.Add(Range{i, 1})
	}
	require.Len(t, sane(t, &set), n)
	require.Less(t, len(set.leaves), 2*n/leafRanges+2)
	for _, i := range of[n/100:] {
		set.Remove(Range{i, 1})
	}
	left := slices.Sorted(slices.Values(of[:n/100]))
	require.Equal(t, left, sane(t, &set))
	require.Less(t, len(set.leaves), 8*len(left)/leafRanges+8, "leaves that nearly nothing is left of have not been joined")
	set.Add(Range{0, 2 * n})
	require.Equal(t, [][]Range{{{0, 2 * n}}}, set.leaves)
	set.Remove(Range{0, 2 * n})
	require.Empty(t, set.leaves)
}

// A million tasks that come and go one by one, in no order.
func BenchmarkRangeSetScattered(b *testing.B) {
	of := scattered(1_000_000)
	for b.Loop() {
		var set RangeSet
		for _, i := range of {
			set.Add(Range{i, 1})
		}
		for _, i := range of {
			set.Remove(Range{i, 1})
		}
	}
}
