package leader

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATermIsWhatAMajorityHasReached(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		terms    []uint64
		majority uint64
		refuted  bool // of term 7
	}{
		{nil, 0, false},
		{[]uint64{7}, 7, false},
		{[]uint64{6}, 6, true},
		{[]uint64{0}, 0, false},
		{[]uint64{1 << 60, 5, 5}, 5, true},
		{[]uint64{7, 7, 6}, 7, false},
		{[]uint64{7, 6, 6}, 6, true},
		{[]uint64{7, 6, 0}, 6, false},
		{[]uint64{7, 0, 0}, 0, false},
		{[]uint64{7, 6}, 6, false},
		{[]uint64{6, 6}, 6, true},
		{[]uint64{1 << 60, 1 << 60, 5, 5, 5}, 5, true},
		{[]uint64{0, 0, 5, 5, 5}, 5, true},
		{[]uint64{0, 0, 0, 5, 5}, 0, false},
	} {
		require.Equal(t, tc.majority, majorityTerm(tc.terms), "%v", tc.terms)
		require.Equal(t, tc.refuted, refuted(tc.terms, 7), "%v", tc.terms)
	}
}
