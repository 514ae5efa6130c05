package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// usages returns what the tasks of a group have used, by index.
func usages(t *testing.T, g *rotav1.ReportGroup) map[uint32]task.Usage {
	t.Helper()
	out := map[uint32]task.Usage{}
	rest := g.GetPackedUsage()
	for _, r := range g.GetRanges() {
		for i := range r.GetCount() {
			encoded, behind, ok := task.PackNext(rest)
			require.True(t, ok)
			out[r.GetFirst()+i], rest = task.ParseUsage(encoded), behind
		}
	}
	require.Empty(t, rest)
	return out
}

func TestWhatTasksHaveUsedStaysTheirsInAGroup(t *testing.T) {
	t.Parallel()
	used := func(i uint32) task.Usage {
		if i%3 == 0 {
			return task.Usage{}
		}
		return task.Usage{PeakMemory: uint64(i) << 20, CPUTime: time.Duration(i) * time.Millisecond}
	}
	for _, outputs := range []bool{false, true} {
		o := NewOutbox()
		want := map[uint32]task.Usage{}
		for _, i := range []uint32{6, 3, 7, 1, 2, 9, 8} { // as they end
			res := &Result{Kind: Succeeded, Usage: used(i)}
			if outputs {
				res.Output = []byte{byte(i)}
			}
			o.Add(Grant{1, 100}, i, res, false)
			want[i] = used(i)
		}
		m := o.Next()
		require.Len(t, m.GetGroups(), 1)
		require.Equal(t, want, usages(t, m.Groups[0]))
	}
}

func TestUsageThatNobodyKnowsTakesNoRoom(t *testing.T) {
	t.Parallel()
	o := NewOutbox()
	for i := range uint32(10) {
		o.Add(Grant{1, 100}, i, &Result{Kind: Succeeded}, false)
	}
	require.Empty(t, o.Next().Groups[0].GetPackedUsage())
}
