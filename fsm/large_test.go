package fsm_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A job of ten million tasks takes 40 bytes to submit, and 10 to cancel. Neither may take much more memory than
// that, whatever the number of tasks.
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
	r := b.must(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: ids[jobs/2:]}}})
	require.EqualValues(t, task.MaxTasks, r.Cancelled, "some at a time: the first pages of one job")
	require.Empty(t, b.m.CheckInvariants())
	got, known := b.m.Task(ids[0], 777)
	require.False(t, known, "the disk knows more")
	require.Zero(t, got)
	cursor, final, known := b.m.Cursor(ids[0], 777)
	require.True(t, final && known)
	require.EqualValues(t, 777, cursor)
}

// A cancel of the last task of a job touches one page. That once took 312 KiB, for the places of all pages before
// it.
func TestATaskFarOutTakesAPageOfMemory(t *testing.T) {
	b := newBundle(t) // alone: it measures the memory of the process
	const jobs, last = 50, task.MaxTasks - 1
	var ids []uint64
	for range jobs {
		ids = append(ids, b.submit(&task.Spec{Handler: "h"}, task.MaxTasks))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, id := range ids {
		op := cancelJobOp(id)
		op.GetCancel().Index = proto.Uint32(last)
		require.EqualValues(t, 1, b.must(op).Cancelled)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, int(after.TotalAlloc-before.TotalAlloc)/jobs, 32<<10)
	require.Empty(t, b.m.CheckInvariants())
	_, final, known := b.m.Cursor(ids[0], last)
	require.True(t, final && known)
}

// What a task takes of memory while it lives is what docs/architecture.md says.
func TestALiveTaskTakesFewBytes(t *testing.T) {
	b := newBundle(t) // alone: it measures the memory of the process
	const tasks, plan = 64 * task.MaxSlots, 512
	sessions := make([]uint64, tasks/task.MaxSlots)
	for i := range sessions {
		sessions[i] = b.openSession(fmt.Sprint("w", i), task.MaxSlots)
	}
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 2, Timeout: time.Hour}, tasks)
	inUse := func() int {
		var stats runtime.MemStats
		runtime.GC() // a sync.Pool lets go of what it keeps at the second collection
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc)
	}
	before := inUse()
	for first := uint32(0); first < tasks; first += plan {
		require.EqualValues(t, plan, b.plan(job, first, plan, sessions[first/task.MaxSlots]).Granted)
	}
	require.Less(t, (inUse()-before)/tasks, 40, "assigned: a slot")
	for first := uint32(0); first < tasks; first += plan {
		b.clock += int64(time.Millisecond)
		require.Empty(t, b.report(job, first, plan, 0, task.OutcomeFailed).Exceptions)
	}
	require.Less(t, (inUse()-before)/tasks, 96, "waiting for the next attempt: a timer as well")
	runtime.KeepAlive(b)
}

// With one more byte, ten million jobs take 320 MB more: the next size that Go allocates is 416.
func TestAJobTakesNoMoreMemoryThanItMust(t *testing.T) {
	t.Parallel()
	require.LessOrEqual(t, fsm.JobBytes, uintptr(384))
}
