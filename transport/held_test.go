package transport

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// someRanges are ranges of a few tasks, in any order, which may overlap.
var someRanges = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *rotav1.IndexRange {
	return &rotav1.IndexRange{First: rapid.Uint32Range(0, 30).Draw(t, "first"), Count: rapid.Uint32Range(1, 6).Draw(t, "count")}
}), 0, 8)

func indexes(ranges []*rotav1.IndexRange) (out []uint32) {
	for _, r := range ranges {
		for i := r.First; i < r.First+r.Count; i++ {
			out = append(out, i)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestWhatOneSideHoldsAndTheOtherDoesNot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ours, theirs := someRanges.Draw(t, "ours"), someRanges.Draw(t, "theirs")
		listed := heldBy(&rotav1.Hello{Held: []*rotav1.HeldTasks{{JobId: 1, TokenOffset: 7, Ranges: ours}}})
		current := heldTasks{}
		for _, i := range indexes(theirs) {
			current.add(heldKey{1, 7}, task.Range{First: i, Count: 1})
			current.add(heldKey{1, 8}, task.Range{First: i, Count: 1})
		}
		var want []uint32
		for _, i := range indexes(ours) {
			if !slices.Contains(indexes(theirs), i) {
				want = append(want, i)
			}
		}
		var got []*rotav1.IndexRange
		for _, h := range listed.beyond(current) {
			require.Equal(t, []any{uint64(1), int64(7)}, []any{h.JobId, h.TokenOffset})
			got = append(got, h.Ranges...)
		}
		require.Equal(t, want, indexes(got))
	})
}
