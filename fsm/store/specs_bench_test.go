package store

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// BenchmarkFlushShared flushes 100 jobs with shared payloads of 256 KiB, each of which got one result since the
// flush before. Either each job has its own payload, or all have the same. It also reports how much memory such a
// job takes.
func BenchmarkFlushShared(b *testing.B) {
	for _, distinct := range []bool{true, false} {
		b.Run(fmt.Sprintf("distinct=%v", distinct), func(b *testing.B) { benchFlushShared(b, distinct) })
	}
}

func benchFlushShared(b *testing.B, distinct bool) {
	const jobs = 100
	bundle := newBundle(b)
	w := bundle.openSession("w")
	before := heap()
	ids := make([]uint64, jobs)
	for i := range ids {
		payload := make([]byte, task.MaxPayload)
		if distinct {
			payload[0] = byte(i)
		}
		ids[i] = bundle.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: task.MaxTasks}}, &task.Spec{Handler: "h", SharedPayload: payload})
	}
	require.NoError(b, bundle.s.Flush())
	memory := heap() - before
	written := func() int64 { s := bundle.s.pair.Load().db.bolt.Stats(); return s.TxStats.GetPageAlloc() }
	began, next := written(), uint32(0)
	for b.Loop() {
		b.StopTimer()
		for _, id := range ids {
			bundle.work(id, next, 1, 1, w)
		}
		next++
		b.StartTimer()
		require.NoError(b, bundle.s.Flush())
	}
	b.ReportMetric(float64(memory)/jobs, "mem-B/job")
	b.ReportMetric(float64(written()-began)/float64(b.N), "written-B/flush")
}

// heap is how much memory is in use.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
