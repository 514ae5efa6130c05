package store

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// BenchmarkFlush writes jobs of one task that began and ended since the flush before. Each has a request key: either
// keys in no order, or keys that grow.
func BenchmarkFlush(b *testing.B) {
	for _, jobs := range []int{30, 300, 1500} {
		for _, grow := range []bool{false, true} {
			b.Run(fmt.Sprintf("jobs=%d/growing=%v", jobs, grow), func(b *testing.B) { benchFlush(b, jobs, grow) })
		}
	}
}

func benchFlush(b *testing.B, jobs int, grow bool) {
	bundle := newBundle(b)
	w := bundle.openSession("w")
	keys := uint64(0)
	key := func() string {
		if keys++; grow {
			return fmt.Sprintf("%016x", keys)
		}
		return fmt.Sprintf("%016x", task.Mix(keys))
	}
	for range 100 {
		bundle.runJobs(1000, key, w)
		require.NoError(b, bundle.s.Flush())
	}
	stats := func() int64 { s := bundle.s.pair.Load().db.bolt.Stats(); return s.TxStats.GetPageAlloc() }
	before := stats()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		bundle.runJobs(jobs, key, w)
		b.StartTimer()
		require.NoError(b, bundle.s.Flush())
	}
	n := float64(b.N * jobs)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/job")
	b.ReportMetric(float64(stats()-before)/n, "written-B/job")
}

// runJobs runs jobs of one task to their end.
func (b *testBundle) runJobs(n int, key func() string, session uint64) {
	b.t.Helper()
	spec, err := fsm.EncodeSpec(&task.Spec{Handler: "h"})
	require.NoError(b.t, err)
	b.clock += int64(FlushInterval)
	var submits []*logpb.Op
	for range n {
		submits = append(submits, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{
			Spec: spec, Tasks: packed(1, 0), Key: key(), Hash: []byte("a hash of 16 byt"),
		}}})
	}
	plan, report := &logpb.ApplyPlan{}, &logpb.Report{Session: session}
	for _, r := range b.apply(submits...) {
		plan.Assign = append(plan.Assign, &logpb.Assign{Job: r.Job, Count: 1, Session: session})
	}
	b.apply(&logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}})
	for _, a := range plan.Assign {
		t, known := b.s.Machine().Task(a.Job, 0)
		require.True(b.t, known)
		report.Groups = append(report.Groups, &logpb.ReportGroup{
			Job: a.Job, TokenOffset: int64(t.Token), Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{Count: 1}},
			PackedOutputs: task.PackAppend(nil, []byte("a result")),
		})
	}
	b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: report}})
}

// BenchmarkLateReport applies the report of a worker that comes back with 4096 results of
// tasks that ran elsewhere meanwhile, a few at a time.
func BenchmarkLateReport(b *testing.B) {
	const total, few = 100_000, 8
	bundle := newBundle(b)
	job := bundle.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: total}}, &task.Spec{Handler: "h"})
	workers := [2]uint64{bundle.openSession("w1"), bundle.openSession("w2")}
	for first := uint32(0); first < total; first += few {
		bundle.work(job, first, few, few, workers[first/few%2])
	}
	require.NoError(b, bundle.s.Flush())
	report := &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Groups: []*logpb.ReportGroup{{
		Job: job, Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{First: 50_000, Count: 4096}},
	}}}}}
	b.ReportAllocs()
	for b.Loop() {
		require.Equal(b, 4096, fsm.Excepted(bundle.apply(report)[0].Exceptions))
	}
}

// BenchmarkApplyBesideFlushes applies the grant and the results of 1,000 tasks with payloads and results of their
// own at a time, while the flusher writes, or in between. It reports how long the slowest in a hundred takes: a
// flush must not hold up Apply.
func BenchmarkApplyBesideFlushes(b *testing.B) {
	for _, beside := range []bool{false, true} {
		b.Run(fmt.Sprintf("beside=%v", beside), func(b *testing.B) { benchApply(b, beside) })
	}
}

func benchApply(b *testing.B, beside bool) {
	const each, flushEvery = 1000, 50
	bundle := newBundle(b)
	w := bundle.openSession("w")
	f := NewFlusher(bundle.s)
	ctx, cancel := context.WithCancel(b.Context())
	flushed := make(chan error, 1)
	if beside {
		go func() { flushed <- f.Run(ctx) }()
	} else {
		flushed <- nil
	}
	var took []time.Duration
	job, next := uint64(0), uint32(task.MaxTasks)
	for b.Loop() {
		b.StopTimer()
		if next+each > task.MaxTasks {
			job, next = bundle.submit(&logpb.Submit{Open: true}, &task.Spec{Handler: "h"}), 0
		}
		tasks := packed(each, 50)
		bundle.apply(&logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, FirstIndex: next, Tasks: tasks}}})
		b.StartTimer()
		began := time.Now()
		bundle.work(job, next, each, each, w)
		took = append(took, time.Since(began))
		b.StopTimer()
		next += each
		if beside {
			f.Applied(ctx)
		} else if len(took)%flushEvery == 0 {
			require.NoError(b, bundle.s.Flush())
		}
		b.StartTimer()
	}
	cancel()
	require.NoError(b, <-flushed)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
}
