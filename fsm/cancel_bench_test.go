package fsm_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// cancelCases are the states that the tasks of a job may be in when it is cancelled. Each case brings a job of a
// given size to that state.
var cancelCases = []struct {
	name string
	make func(b *cancelBench)
}{
	{"untouched", func(*cancelBench) {}},
	{"pending", func(b *cancelBench) { b.eachGrant(task.OutcomeReturned, func(uint32) bool { return true }) }},
	{"backing-off", func(b *cancelBench) { b.eachGrant(task.OutcomeFailed, func(uint32) bool { return true }) }},
	{"assigned", func(b *cancelBench) { b.eachGrant(0, func(uint32) bool { return false }) }},
	{"finished", func(b *cancelBench) { b.finishSingly(b.tasks - 1) }},
	{"half-finished", func(b *cancelBench) { b.finishSingly(b.tasks / 2) }},
	{"scattered", func(b *cancelBench) { b.scatter() }},
	{"alternating", func(b *cancelBench) { b.eachGrant(task.OutcomeFailed, func(i uint32) bool { return i%2 == 0 }) }},
}

// cancelBench is a job in one of these states.
type cancelBench struct {
	*testBundle
	job   uint64
	tasks uint32
}

// granted is how many tasks a session is granted.
const granted = 10_000

// eachGrant grants all tasks, some to each session, and reports those for which passes is true.
func (b *cancelBench) eachGrant(outcome task.Outcome, passes func(i uint32) bool) {
	for first := uint32(0); first < b.tasks; first += granted {
		w := b.openSession(fmt.Sprint("w", first/granted), task.MaxSlots)
		n := min(granted, b.tasks-first)
		b.plan(b.job, first, n, w)
		g := &logpb.ReportGroup{Job: b.job, TokenOffset: 1, Outcome: uint32(outcome)}
		for i := first; i < first+n; i++ {
			if passes(i) {
				g.Ranges = append(g.Ranges, &logpb.Range{First: i, Count: 1})
			}
		}
		if len(g.Ranges) > 0 {
			b.clock++
			require.Empty(b.t, b.must(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: w, Groups: []*logpb.ReportGroup{g}}}}).Exceptions)
		}
	}
}

// singly reports tasks one by one, in a random order. token returns the token of a task.
func (b *cancelBench) singly(order []int, outcome task.Outcome, token func(i, k int) int64) {
	for at := 0; at < len(order); at += benchTasks {
		var ops []*logpb.Op
		for k, i := range order[at:min(at+benchTasks, len(order))] {
			op := reportOp(b.job, uint32(i), 1, token(i, at+k)-int64(i)-1, outcome)
			op.GetReport().Session = 1 + uint64(i)/granted
			ops = append(ops, op)
		}
		for _, r := range b.apply(ops...) {
			require.Empty(b.t, r.Exceptions)
		}
		b.forget()
	}
}

func (b *cancelBench) order() []int { return rand.New(rand.NewPCG(1, 1)).Perm(int(b.tasks)) }

// finishSingly grants all tasks, and reports some of them as succeeded, one by one in a random order.
func (b *cancelBench) finishSingly(count uint32) {
	b.eachGrant(0, func(uint32) bool { return false })
	b.singly(b.order()[:count], task.OutcomeSucceeded, func(i, _ int) int64 { return int64(i) + 1 })
}

// scatter makes all tasks pending in such a way that the tokens of two neighbours never follow each other: in the
// end each task is a segment of its own.
func (b *cancelBench) scatter() {
	b.eachGrant(task.OutcomeReturned, func(uint32) bool { return true })
	order := b.order()
	for at := 0; at < len(order); at += benchTasks {
		plan := &logpb.ApplyPlan{}
		for _, i := range order[at:min(at+benchTasks, len(order))] {
			plan.Assign = append(plan.Assign, &logpb.Assign{Job: b.job, First: uint32(i), Count: 1, Session: 1 + uint64(i)/granted})
		}
		require.Zero(b.t, b.must(&logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: plan}}).Refused)
	}
	b.singly(order, task.OutcomeReturned, func(_, k int) int64 { return int64(b.tasks) + int64(k) + 1 })
}

// forget forgets what was written, as a flush does.
func (b *cancelBench) forget() {
	if c := b.m.TakeBatch(); c != nil {
		b.m.Flushed(c)
	}
}

// cancelAll cancels the job, and goes on as a leader does until nothing of it waits. It returns how long the
// longest entry took.
func (b *cancelBench) cancelAll() (longest time.Duration) {
	timed := func(op *logpb.Op) {
		data := encode(b.t, b.clock, op)
		b.index++
		began := time.Now()
		r, err := b.m.Apply(b.index, 1, data)
		longest = max(longest, time.Since(began))
		require.NoError(b.t, err)
		require.NoError(b.t, r[0].Err)
	}
	timed(cancelJobOp(b.job))
	for {
		due, _ := b.m.Due(b.clock, 1)
		if len(due) == 0 {
			return longest
		}
		timed(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: due}}})
	}
}

// BenchmarkCancelJob cancels jobs of different sizes. The whole time must be linear. The longest entry, during which
// nobody else is served, must not take longer for a larger job.
func BenchmarkCancelJob(b *testing.B) {
	for _, shape := range cancelCases {
		b.Run(shape.name, func(b *testing.B) {
			eachJobSize(b, func(b *testing.B, tasks uint32) {
				longest := time.Hour
				for b.Loop() {
					b.StopTimer()
					c := &cancelBench{testBundle: newBundle(b), tasks: tasks}
					c.job = c.submit(&task.Spec{Handler: "h", MaxAttempts: task.MaxAttempts}, tasks)
					shape.make(c)
					c.forget()
					b.StartTimer()
					longest = min(longest, c.cancelAll()) // the least of all rounds: others may use the machine, too
				}
				b.ReportMetric(float64(longest.Nanoseconds()), "ns/longest-entry")
			})
		})
	}
}
