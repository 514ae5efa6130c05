package store

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// cancelled returns a job whose tasks are all cancelled, and whose end is on disk, with one index record for each
// page.
func (b *testBundle) cancelled(tasks uint32) uint64 {
	b.t.Helper()
	id := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: tasks}}, &task.Spec{Handler: "h"})
	b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}}})
	for {
		rec, ok := b.s.Machine().Job(id)
		if !ok || rec.FinishedNs != 0 {
			break
		}
		b.apply(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{id}}}})
	}
	require.NoError(b.t, b.s.Flush())
	return id
}

// forget forgets finished jobs, and flushes.
func (b *testBundle) forget(ids ...uint64) {
	b.t.Helper()
	r := b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: ids, OverBudget: true}}})[0]
	require.EqualValues(b.t, len(ids), r.Total)
	require.NoError(b.t, b.s.Flush())
}

// records is how many records a job has, except its own.
func (b *testBundle) records(id uint64) (n int) {
	b.t.Helper()
	require.NoError(b.t, b.s.pair.Load().db.view(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{appendsBucket, attemptsBucket, payloadsBucket, resultsBucket, indexBucket, liveBucket} {
			c := tx.Bucket(name).Cursor()
			last := key6432(id, math.MaxUint32)
			for k, _ := c.Seek(key64(id)); k != nil && string(k) <= string(last); k, _ = c.Next() {
				n++
			}
		}
		return nil
	}))
	return n
}

// A large job that was forgotten is gone at once. Its records leave the file a few at a time, also after a restart,
// and whether or not there is something else to write.
func TestWhatALargeJobLeavesGoesSomeAtATime(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	stays := b.cancelled(1000)
	kept := b.records(stays)
	large := b.cancelled(3 * leavingRecords * fsm.PageTasks)
	other := b.cancelled(1000)
	n := b.records(large)
	require.Greater(t, n, 3*leavingRecords)
	b.forget(large, other)
	flushes := 0
	for ; b.records(large) > 0; flushes++ {
		left := b.records(large)
		require.GreaterOrEqual(t, left, n-leavingRecords, "records that leave with one flush")
		require.Less(t, left, n)
		require.Less(t, flushes, 10)
		n = left
		_, err := b.s.Job(large)
		require.ErrorIs(t, err, task.ErrNotFound)
		_, err = b.s.Segments(large, 0, math.MaxInt)
		require.ErrorIs(t, err, task.ErrNotFound)
		_, _, err = b.s.Cursor(large, large3rd)
		require.ErrorIs(t, err, task.ErrNotFound)
		b.s.pair.Load().db.Tokens(large, []task.Range{{First: large3rd, Count: 1}}, func(_ task.Range, last fsm.LastToken) { require.False(t, last.Known) })
		excess, err := b.s.Excess(0, 10)
		require.NoError(t, err)
		require.Empty(t, excess, "records that are leaving make enough room")
		if flushes == 1 {
			b.reopen() // which counts all records
		}
		require.NoError(t, b.s.Flush())
	}
	require.GreaterOrEqual(t, flushes, 3)
	for range 2 {
		require.Zero(t, b.records(other))
		require.False(t, b.s.pair.Load().db.leaving.Load())
		require.Equal(t, kept, b.records(stays))
		excess, err := b.s.Excess(0, 10)
		require.NoError(t, err)
		require.Equal(t, []uint64{stays}, excess)
		b.reopen()
	}
}

// large3rd is a task of the job of the test above whose place in the index leaves last.
const large3rd = 3*leavingRecords*fsm.PageTasks - 1

// BenchmarkForget forgets a job with payloads of its own, up to nearly the largest number. It reports the cost of
// one payload, which must not grow with their number, and the time of the longest flush.
func BenchmarkForget(b *testing.B) {
	for _, tasks := range []int{1 << 20, 3 << 20, 9 << 20} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			longest := time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				bundle := newBundle(b)
				id := bundle.payloads(tasks)
				bundle.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{id}, OverBudget: true}}})
				b.StartTimer()
				for first := true; first || bundle.s.pair.Load().db.leaving.Load(); first = false {
					begun := time.Now()
					require.NoError(b, bundle.s.Flush())
					longest = max(longest, time.Since(begun))
				}
				b.StopTimer()
				require.Zero(b, bundle.records(id))
				require.NoError(b, bundle.s.Abandon())
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(tasks), "us/task")
			b.ReportMetric(float64(longest.Milliseconds()), "longest-ms")
		})
	}
}

// payloads returns a job that has ended, with a payload of its own for each task, appended page by page.
func (b *testBundle) payloads(tasks int) uint64 {
	b.t.Helper()
	id := b.submit(&logpb.Submit{Open: true, Hold: true}, &task.Spec{Handler: "h"})
	page := packed(fsm.PageTasks, 0)
	for first := 0; first < tasks; first += fsm.PageTasks {
		b.append(id, uint32(first), page)
		if dirty, _ := b.s.Machine().Pending(); dirty >= flushBytes {
			require.NoError(b.t, b.s.Flush())
		}
	}
	b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: id, Reason: uint32(task.ReasonUser)}}})
	for {
		if rec, ok := b.s.Machine().Job(id); !ok || rec.FinishedNs != 0 {
			break
		}
		b.apply(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{id}}}})
	}
	require.NoError(b.t, b.s.Flush())
	return id
}
