package fsm_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// benchTasks is how many tasks one round of a benchmark takes through a step. Allocations are reported for all of
// them, time also for one task.
const benchTasks = 1000

// benchStep measures one entry at a time, which prepare returns, on a machine that forgets what has ended.
func benchStep(b *testing.B, prepare func(bundle *testBundle, round int) []byte, after func(bundle *testBundle)) {
	b.Helper()
	bundle := newBundle(b)
	bundle.openSession("w", task.MaxSlots)
	bundle.openSession("w2", task.MaxSlots)
	b.ReportAllocs()
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		data := prepare(bundle, round)
		bundle.index++
		b.StartTimer()
		_, err := bundle.m.Apply(bundle.index, 1, data)
		b.StopTimer()
		require.NoError(b, err)
		after(bundle)
		b.StartTimer()
	}
	tellPerTask(b)
}

func tellPerTask(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchTasks, "ns/task")
}

func encode(b testing.TB, clock int64, ops ...*logpb.Op) []byte {
	b.Helper()
	data, err := fsm.EncodeEntry(fsm.GateVersion, clock, ops)
	require.NoError(b, err)
	return data
}

// drain ends and forgets all jobs.
func drain(b *testBundle) {
	var ops []*logpb.Op
	for _, r := range b.m.JobsBelow(0, 2*benchTasks) {
		ops = append(ops, cancelJobOp(r.Id))
	}
	b.apply(ops...)
	for _, s := range b.m.Sessions() {
		var groups []*logpb.ReportGroup
		b.m.Held(s.Id, func(h fsm.HeldTask) {
			groups = append(groups, &logpb.ReportGroup{
				Job: h.Job, TokenOffset: h.TokenOffset, Outcome: uint32(task.OutcomeStopped), Ranges: []*logpb.Range{{First: h.First, Count: h.Count}},
			})
		})
		b.apply(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: s.Id, Groups: groups}}})
	}
	b.m.Flushed(b.m.TakeBatch())
}

func submitOps(b testing.TB, jobs, tasks uint32) []*logpb.Op {
	ops := make([]*logpb.Op, jobs)
	for i := range ops {
		ops[i] = submitOp(b, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(tasks)})
	}
	return ops
}

func BenchmarkSubmitJobsOfOneTask(b *testing.B) {
	ops := submitOps(b, benchTasks, 1)
	benchStep(b, func(bundle *testBundle, _ int) []byte { return encode(b, bundle.clock, ops...) }, drain)
}

func BenchmarkSubmitJobOfManyTasks(b *testing.B) {
	ops := submitOps(b, 1, benchTasks)
	benchStep(b, func(bundle *testBundle, _ int) []byte { return encode(b, bundle.clock, ops...) }, drain)
}

// assigns grants all that waits to the first session.
func assigns(bundle *testBundle) *logpb.Op {
	plan := &logpb.ApplyPlan{}
	v := bundle.view(roomy)
	for _, q := range v.Queues {
		for _, j := range q.Jobs {
			for _, r := range j.Ranges {
				plan.Assign = append(plan.Assign, &logpb.Assign{Job: j.ID, First: r.First, Count: r.Count, Session: v.Sessions[0].ID})
			}
		}
	}
	return &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}}
}

// results reports a result for each task that the first session holds.
func results(bundle *testBundle) *logpb.Op {
	o := &logpb.Report{Session: 1}
	bundle.m.Held(1, func(h fsm.HeldTask) {
		g := &logpb.ReportGroup{Job: h.Job, TokenOffset: h.TokenOffset, Outcome: uint32(task.OutcomeSucceeded), Ranges: []*logpb.Range{{First: h.First, Count: h.Count}}}
		for i := range h.Count {
			g.PackedOutputs = task.PackAppend(g.PackedOutputs, fmt.Appendf(nil, "result %d", i))
		}
		o.Groups = append(o.Groups, g)
	})
	return &logpb.Op{Op: &logpb.Op_Report{Report: o}}
}

func BenchmarkPlan(b *testing.B) {
	for name, ops := range workloads(b) {
		b.Run(name, func(b *testing.B) {
			benchStep(b, func(bundle *testBundle, _ int) []byte {
				bundle.apply(ops...)
				return encode(b, bundle.clock, assigns(bundle))
			}, drain)
		})
	}
}

func BenchmarkReport(b *testing.B) {
	for name, ops := range workloads(b) {
		b.Run(name, func(b *testing.B) {
			benchStep(b, func(bundle *testBundle, _ int) []byte {
				bundle.apply(ops...)
				bundle.apply(assigns(bundle))
				return encode(b, bundle.clock, results(bundle))
			}, drain)
		})
	}
}

// BenchmarkSettle applies an entry that touches a job in a thousand tasks, each in a page of its own. The job is
// settled once for the entry, not once for each task.
func BenchmarkSettle(b *testing.B) {
	var job uint64
	ops := submitOps(b, 1, 1)
	benchStep(b, func(bundle *testBundle, _ int) []byte {
		bundle.apply(ops...)
		job = bundle.submit(&task.Spec{Handler: "h"}, 256*benchTasks)
		cancels := make([]*logpb.Op, benchTasks)
		for i := range cancels {
			cancels[i] = cancelOp(job, uint32(i)*256)
		}
		return encode(b, bundle.clock, cancels...)
	}, drain)
}

// workloads is the same number of tasks in many jobs and in one.
func workloads(b testing.TB) map[string][]*logpb.Op {
	return map[string][]*logpb.Op{"jobs of one task": submitOps(b, benchTasks, 1), "a job of many tasks": submitOps(b, 1, benchTasks)}
}

// BenchmarkTakeBatch takes the flush batch of a thousand tasks, and forgets it once it is written. The machine is
// locked all the time.
func BenchmarkTakeBatch(b *testing.B) {
	for name, ops := range workloads(b) {
		b.Run(name, func(b *testing.B) {
			bundle := newBundle(b)
			bundle.openSession("w", task.MaxSlots)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				bundle.apply(ops...)
				bundle.apply(assigns(bundle))
				bundle.apply(results(bundle))
				b.StartTimer()
				bundle.m.Flushed(bundle.m.TakeBatch())
				b.StopTimer()
				b.StartTimer()
			}
			tellPerTask(b)
		})
	}
}

// BenchmarkView takes a view, as the scheduler does before each plan.
func BenchmarkView(b *testing.B) {
	bundle := newBundle(b)
	bundle.openSession("w", task.MaxSlots)
	bundle.apply(submitOps(b, benchTasks, 1)...)
	b.ReportAllocs()
	for b.Loop() {
		bundle.view(roomy)
	}
	tellPerTask(b)
}

// BenchmarkHeld answers the beat of one of many workers that share a large job. The cost depends on what this worker
// holds, not on the others.
func BenchmarkHeld(b *testing.B) {
	for _, workers := range []uint32{2, 200} {
		b.Run(fmt.Sprintf("%d workers", workers), func(b *testing.B) {
			bundle := newBundle(b)
			bundle.apply(submitOps(b, 1, workers*benchTasks)...)
			plan := &logpb.ApplyPlan{}
			for i := range workers {
				id := bundle.openSession(fmt.Sprint("w", i), task.MaxSlots)
				plan.Assign = append(plan.Assign, &logpb.Assign{Job: 1, First: i * benchTasks, Count: benchTasks, Session: id})
			}
			bundle.apply(&logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}})
			last := plan.Assign[workers-1].Session
			held := uint32(0)
			b.ReportAllocs()
			for b.Loop() {
				held = 0
				bundle.m.Held(last, func(h fsm.HeldTask) { held += h.Count })
			}
			require.EqualValues(b, benchTasks, held)
			tellPerTask(b)
		})
	}
}

// jobSizes are numbers of tasks that come back one by one, so that a job may have up to a million ranges. The cost
// of a task must not grow with their number.
var jobSizes = []uint32{10_000, 100_000, 1_000_000}

// backingOff returns a machine with a job whose tasks have all failed. They wait to be tried again, in the order of
// their jitter.
func backingOff(b *testing.B, tasks uint32) (bundle *testBundle, job uint64) {
	b.Helper()
	bundle = newBundle(b)
	w := bundle.openSession("w", task.MaxSlots)
	job = bundle.submit(&task.Spec{Handler: "h", MaxAttempts: task.MaxAttempts}, tasks)
	const step = 10_000
	for first := uint32(0); first < tasks; first += step {
		n := min(step, tasks-first)
		bundle.plan(job, first, n, w)
		bundle.clock++
		bundle.must(failedOp(w, job, first, n))
	}
	return bundle, job
}

// failedOp reports tasks as failed. They were granted in order, on a machine that had granted none before.
func failedOp(session, job uint64, first, count uint32) *logpb.Op {
	g := &logpb.ReportGroup{
		Job: job, TokenOffset: 1, Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError), Ranges: []*logpb.Range{{First: first, Count: count}},
	}
	return &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: session, Groups: []*logpb.ReportGroup{g}}}}
}

func eachJobSize(b *testing.B, f func(b *testing.B, tasks uint32)) {
	for _, tasks := range jobSizes {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			f(b, tasks)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tasks), "ns/task")
		})
	}
}

// BenchmarkDueTimers takes views while all tasks become due at once.
func BenchmarkDueTimers(b *testing.B) {
	eachJobSize(b, func(b *testing.B, tasks uint32) {
		for b.Loop() {
			b.StopTimer()
			bundle, _ := backingOff(b, tasks)
			bundle.m.TakeBatch()
			later := bundle.clock + int64(task.BackoffMax)
			b.StartTimer()
			bundle.viewAll(later)
		}
	})
}

// BenchmarkCancelScattered cancels a job whose tasks have all failed: half of them, in runs of one or a
// few, can be granted again, and the others wait for their time.
func BenchmarkCancelScattered(b *testing.B) {
	eachJobSize(b, func(b *testing.B, tasks uint32) {
		for b.Loop() {
			b.StopTimer()
			bundle, job := backingOff(b, tasks)
			bundle.viewAll(bundle.clock + int64(task.BackoffBase))
			data := encode(b, bundle.clock, cancelJobOp(job))
			bundle.index++
			b.StartTimer()
			_, err := bundle.m.Apply(bundle.index, 1, data)
			require.NoError(b, err)
		}
	})
}

// BenchmarkOpenJobAppends repeats appends to an open job that has had many.
func BenchmarkOpenJobAppends(b *testing.B) {
	for _, appends := range jobSizes {
		b.Run(fmt.Sprintf("appends=%d", appends), func(b *testing.B) {
			bundle := newBundle(b)
			job := bundle.must(submitOp(b, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true})).Job
			some := func(first uint32) []*logpb.Op {
				ops := make([]*logpb.Op, benchTasks)
				for i := range ops {
					ops[i] = &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, FirstIndex: first + uint32(i), Tasks: &logpb.Tasks{Count: 1}}}}
				}
				return ops
			}
			for first := uint32(0); first < appends; first += benchTasks {
				bundle.apply(some(first)...)
			}
			again := encode(b, bundle.clock, some(appends-benchTasks)...)
			b.ReportAllocs()
			for b.Loop() {
				bundle.index++
				r, err := bundle.m.Apply(bundle.index, 1, again)
				if err != nil || !r[0].Existed {
					b.Fatal(err, r[0])
				}
			}
			tellPerTask(b)
		})
	}
}

// BenchmarkFlushOfAnOldJob flushes a job in which little happens, after many of its tasks have ended. The cost must
// not depend on how many have ended.
func BenchmarkFlushOfAnOldJob(b *testing.B) {
	for _, tasks := range []uint32{100_000, 1_000_000, task.MaxTasks} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			bundle := newBundle(b)
			job := bundle.must(submitOp(b, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true, Tasks: &logpb.Tasks{Count: tasks}})).Job
			w := bundle.openSession("w", task.MaxSlots)
			flush := func() { bundle.m.Flushed(bundle.m.TakeBatch()) }
			for first := uint32(0); first < tasks; first += task.MaxSlots {
				n := min(task.MaxSlots, tasks-first)
				require.EqualValues(b, n, bundle.plan(job, first, n, w).Granted)
				bundle.report(job, first, n, 0, task.OutcomeSucceeded)
				flush()
			}
			again := &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, FirstIndex: tasks, Tasks: &logpb.Tasks{}}}}
			b.ReportAllocs()
			for b.Loop() {
				bundle.must(again)
				flush()
			}
		})
	}
}
