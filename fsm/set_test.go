package fsm

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func setOf(numbers ...int) (s Set) {
	for _, i := range numbers {
		s.Put(i)
	}
	return s
}

// numbers is what a set holds, in its order.
func (s Set) numbers() (out []int) {
	all := make([]uint64, 1<<14)
	for i := range all {
		all[i] = ^uint64(0)
	}
	s.each(all, func(i int) bool { out = append(out, i); return true })
	return out
}

func TestASetIsAsLargeAsWhatItHolds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		put, removed, want []int
		words              int
	}{
		{nil, []int{7}, nil, 0},
		{[]int{5, 3, 3}, nil, []int{3, 5}, 1},
		{[]int{63, 64}, nil, []int{63, 64}, 2},
		{[]int{1_000_000, 0}, nil, []int{0, 1_000_000}, 2},
		{[]int{1_000_000, 0}, []int{0, 1}, []int{1_000_000}, 1},
		{[]int{64, 65, 200}, []int{64, 199, 5000}, []int{65, 200}, 2},
		{[]int{1, 100}, []int{100, 1}, nil, 0},
	} {
		s := setOf(c.put...)
		for _, i := range c.removed {
			s.remove(i)
		}
		require.Equal(t, c.want, s.numbers(), "%+v", c)
		require.Len(t, s, c.words, "%+v", c)
		require.Equal(t, len(c.want), s.count(), "%+v", c)
		for _, i := range append(c.put, c.removed...) {
			require.Equal(t, slices.Contains(c.want, i), s.Has(i), "%d of %+v", i, c)
		}
	}
}

func TestASetIsGoneThroughAsFarAsItIsAskedFor(t *testing.T) {
	t.Parallel()
	s := setOf(1, 2, 64, 70, 500)
	var got []int
	s.each([]uint64{1<<1 | 1<<3, 1<<0 | 1<<6}, func(i int) bool { got = append(got, i); return true })
	require.Equal(t, []int{1, 64, 70}, got, "what is in the bit map too, which ends before 500")
	got = nil
	s.each([]uint64{1<<1 | 1<<2, 1 << 0}, func(i int) bool { got = append(got, i); return i < 2 })
	require.Equal(t, []int{1, 2}, got)
}

// A set holds what a map of the same numbers would, whatever was put and removed.
func TestASetHoldsWhatAMapWould(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var s Set
		want := map[int]bool{}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, 700), 0, 60).Draw(rt, "numbers") {
			if rapid.Bool().Draw(rt, "put") {
				s.Put(i)
				want[i] = true
			} else {
				s.remove(i)
				delete(want, i)
			}
		}
		if got := s.numbers(); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
			rt.Fatalf("the set holds %v, the map %v", got, want)
		}
	})
}

// What sets have in common is found by a walk along the smallest set, between any two numbers.
func TestWhatSetsHaveInCommon(t *testing.T) {
	t.Parallel()
	some := rapid.Map(rapid.SliceOfN(rapid.IntRange(0, 300), 0, 200), func(of []int) Set { return setOf(of...) })
	rapid.Check(t, func(rt *rapid.T) {
		all, one, other := rapid.SliceOfN(some, 1, 3).Draw(rt, "all"), some.Draw(rt, "one"), some.Draw(rt, "other")
		from, below, most := rapid.IntRange(0, 300).Draw(rt, "from"), rapid.IntRange(0, 310).Draw(rt, "below"), rapid.IntRange(1, 20).Draw(rt, "most")
		c := commonOf(all, one, other)
		var want, within []int
		for i := range 301 {
			if (one.Has(i) || other.Has(i)) && !slices.ContainsFunc(all, func(s Set) bool { return !s.Has(i) }) {
				want = append(want, i)
				if i >= from && i < below {
					within = append(within, i)
				}
			}
		}
		if got := c.appendTo(nil).numbers(); !slices.Equal(got, want) {
			rt.Fatalf("%v are in common, not %v", want, got)
		}
		var got []int
		whole := c.each(from, below, func(i int) bool { got = append(got, i); return len(got) < most })
		if !slices.Equal(got, within[:min(most, len(within))]) || whole != (len(within) < most) {
			rt.Fatalf("%d of %v from %d to %d are %v, whole %v", most, want, from, below, got, whole)
		}
	})
}
