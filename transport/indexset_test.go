package transport

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestAnIndexSetKnowsWhatIsMissing(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		total := 1 + random.Uint32N(300)
		s, has := newIndexSet(total), make([]bool, total)
		for range random.IntN(12) {
			first, count := random.Uint32N(total), 1+random.Uint32N(130)
			s.add(first, count)
			for i := first; i < min(total, first+count); i++ {
				has[i] = true
			}
		}
		var want []task.Range
		for i := range total {
			switch n := len(want); {
			case has[i]:
			case n > 0 && want[n-1].First+want[n-1].Count == i:
				want[n-1].Count++
			default:
				want = append(want, task.Range{First: i, Count: 1})
			}
		}
		require.Equal(t, want, s.missing(len(want)))
		if limit := len(want) - 1; limit > 0 {
			require.Equal(t, want, s.missing(limit), "one more than the limit")
			require.Len(t, s.missing(limit-1), limit)
		}
	}
}
