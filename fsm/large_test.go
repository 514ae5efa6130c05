package fsm_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A job of a million tasks takes 40 bytes to submit, and 10 to cancel: neither may take much more of
// memory, whatever the number of tasks.
func TestAJobThatNobodyTouchedTakesLittleMemory(t *testing.T) {
	b := newBundle(t) // alone: it measures the memory of the process
	const jobs = 50
	allocated := func(f func()) int {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return int(after.TotalAlloc-before.TotalAlloc) / jobs
	}
	var ids []uint64
	each := allocated(func() {
		for range jobs {
			ids = append(ids, b.submit(&task.Spec{Handler: "h", Expire: 1e9}, task.MaxTasks))
		}
	})
	require.Less(t, each, 16<<10, "to submit one")
	each = allocated(func() {
		for _, id := range ids[:jobs/2] {
			require.EqualValues(t, task.MaxTasks, b.must(cancelJobOp(id)).Cancelled)
		}
	})
	require.Less(t, each, 1<<20, "to cancel one")
	b.clock += 2e9
	r := b.must(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: ids}}})
	require.EqualValues(t, 2*task.MaxTasks, r.Cancelled, "some at a time: one job, and the first pages of another")
	require.Empty(t, b.m.CheckInvariants())
	got, known := b.m.Task(ids[0], 777)
	require.False(t, known, "the disk knows more")
	require.Zero(t, got)
	cursor, final, known := b.m.Cursor(ids[0], 777)
	require.True(t, final && known)
	require.EqualValues(t, 777, cursor)
}
