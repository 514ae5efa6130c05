package fsm_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// If thousands of sessions can run a job, as many are returned as were asked for, and each turn begins with another
// one. If only one can run it, that one is found.
func TestCandidatesAreFoundHoweverManyCannot(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	labels := manyLabels(1000)
	ids := make([]uint64, len(labels))
	for i, l := range labels {
		ids[i] = b.openAble(fmt.Sprint("w", i), 1, l)
	}
	of := func(turn uint64, require ...task.Pair) (out []uint64) {
		spec := &task.Spec{Handler: "h", Require: require}
		spec.SetDefaults()
		for _, s := range b.m.Candidates(spec, 4, turn) {
			out = append(out, s.ID)
		}
		return out
	}
	require.Equal(t, ids[:4], of(0))
	require.Equal(t, ids[500:504], of(500))
	require.Equal(t, append(slices.Clone(ids[998:]), ids[:2]...), of(998))
	for _, turn := range []uint64{0, 700, 999, math.MaxUint64} {
		require.Equal(t, []uint64{ids[700]}, of(turn, labels[700]))
	}
	require.Empty(t, of(0, labels[1], labels[2]))
}
