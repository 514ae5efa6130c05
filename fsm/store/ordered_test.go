package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// BenchmarkInOrder reads the results of a job in the order of its tasks, as a stream does. Either the job was
// cancelled, and a few results cover a million tasks each, or its results were reported 500 at a time.
func BenchmarkInOrder(b *testing.B) {
	for _, tasks := range []uint32{100_000, 1_000_000, 4_000_000} {
		for _, kind := range []string{"cancelled", "reported"} {
			b.Run(fmt.Sprintf("%s/tasks=%d", kind, tasks), func(b *testing.B) {
				bundle := newBundle(b)
				var id uint64
				if kind == "cancelled" {
					id = bundle.cancelled(tasks)
				} else {
					id = bundle.reported(tasks, 500)
				}
				for b.Loop() {
					in := bundle.s.InOrder(id)
					for next := uint32(0); next < tasks; {
						results, err := in.Next(next, fsm.PageTasks)
						require.NoError(b, err)
						require.NotEmpty(b, results)
						next += uint32(len(results))
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tasks), "ns/task")
			})
		}
	}
}

// reported returns a job whose tasks have all succeeded, some with each report.
func (b *testBundle) reported(tasks, each uint32) uint64 {
	b.t.Helper()
	id := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: tasks}}, &task.Spec{Handler: "h"})
	b.reportAll(id, tasks, each)
	return id
}

// reportAll reports the first tasks of a job as succeeded, some with each report, and flushes.
func (b *testBundle) reportAll(id uint64, tasks, each uint32) {
	b.t.Helper()
	w := b.openSession("w")
	for first := uint32(0); first < tasks; first += each {
		n := min(each, tasks-first)
		b.grant(id, first, n, w)
		t, known := b.s.Machine().Task(id, first)
		require.True(b.t, known)
		b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: w, Groups: []*logpb.ReportGroup{{
			Job: id, TokenOffset: int64(t.Token) - int64(first), Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{First: first, Count: n}},
		}}}}})
		if first%(each*1000) == 0 {
			require.NoError(b.t, b.s.Flush())
		}
	}
	require.NoError(b.t, b.s.Flush())
}
