package fsm_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// manyLabels returns n labels. Each two of them make a class of jobs that require both.
func manyLabels(n int) (out []task.Pair) {
	for i := range n {
		out = append(out, task.Pair{Key: fmt.Sprintf("label%04d", i), Value: "yes"})
	}
	return out
}

// submitClasses puts a job in each of so many classes of a queue. A worker with all of the labels can run them.
func (b *testBundle) submitClasses(classes int, labels []task.Pair, spec task.Spec) {
	b.t.Helper()
	var ops []*logpb.Op
	for i := 0; i < len(labels) && classes > 0; i++ {
		for k := i + 1; k < len(labels) && classes > 0; k++ {
			spec.Require = []task.Pair{labels[i], labels[k]}
			ops = append(ops, submitOp(b.t, &spec, &logpb.Submit{Tasks: &logpb.Tasks{Count: 10}}))
			classes--
		}
	}
	require.Zero(b.t, classes, "not enough labels")
	for len(ops) > 0 {
		n := min(len(ops), benchTasks)
		b.apply(ops[:n]...)
		ops = ops[n:]
	}
}

// openAble opens the session of a worker that offers h and these labels.
func (b *testBundle) openAble(worker string, slots uint32, labels ...task.Pair) uint64 {
	b.t.Helper()
	s := &logpb.Session{Worker: worker, Nonce: []byte(worker), Slots: slots, Handlers: []string{"h"}}
	for _, l := range labels {
		s.Labels = append(s.Labels, &logpb.Pair{Key: l.Key, Value: l.Value})
	}
	return b.must(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: s}}}).Session
}

// whoHasRoom has cases of who has room for the many classes of a queue. In some cases one worker has room for the
// class behind all of them.
var whoHasRoom = []struct {
	name string
	// able: there is a worker that can run them, and away: it is not connected.
	able, away bool
	// other: there is a worker with room.
	other bool
}{
	{"all can run", true, false, true},
	{"all are away", true, true, true},
	{"nobody can run", false, false, true},
	{"nobody has room", true, true, false},
}

// manyClasses is a machine with so many classes in one queue, and a job behind them in a class of its own.
func manyClasses(t testing.TB, classes int, able, other bool) *testBundle {
	t.Helper()
	b := newBundle(t)
	labels := manyLabels(200)
	if able {
		b.openAble("able", 4, labels...)
	}
	if other {
		b.openAble("other", 4)
	}
	b.submitClasses(classes, labels, task.Spec{Handler: "h"})
	b.submit(&task.Spec{Handler: "h"}, 10)
	return b
}

// without makes the worker of the first session disconnected if away is true.
func without(away bool) func([]fsm.SessionView) {
	return func(s []fsm.SessionView) {
		roomy(s)
		if away {
			s[0].Extra = fsm.Away
		}
	}
}

// BenchmarkViewOfClasses takes views of one queue with many classes. The cost must depend on what a view shows, not
// on what is behind that or cannot be run.
func BenchmarkViewOfClasses(b *testing.B) {
	for _, s := range whoHasRoom {
		for _, classes := range []int{100, 1000, 16_000} {
			b.Run(fmt.Sprintf("%s/classes=%d", s.name, classes), func(b *testing.B) {
				bundle, extra := manyClasses(b, classes, s.able, s.other), without(s.away)
				bundle.view(extra) // so that everything is known
				b.ReportAllocs()
				for b.Loop() {
					bundle.view(extra)
				}
			})
		}
	}
}

// ownLabels is so many workers with a label of its own each, as many jobs that require one of these labels each, and
// as many that any of the workers can run.
func ownLabels(b testing.TB, n int) *testBundle {
	bundle := newBundle(b)
	labels := manyLabels(n)
	for i, l := range labels {
		bundle.openAble(fmt.Sprint("w", i), 4, l)
	}
	var ops []*logpb.Op
	for i, l := range labels {
		ops = append(ops, submitOp(b, &task.Spec{Handler: "h", Require: []task.Pair{l}}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}),
			submitOp(b, &task.Spec{Handler: "h", Queue: fmt.Sprint("q", i)}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}))
		if len(ops) >= benchTasks || i == n-1 {
			bundle.apply(ops...)
			ops = nil
		}
	}
	return bundle
}

// BenchmarkFirstView takes the first view of a leader, when nothing is known yet about who can run what.
func BenchmarkFirstView(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprintf("workers=%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				bundle := ownLabels(b, n)
				b.StartTimer()
				bundle.view(roomy)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/worker")
		})
	}
}

// BenchmarkOpenSessions opens sessions of workers that each have a label of their own, on a leader that has seen
// many classes, and takes a view after each.
func BenchmarkOpenSessions(b *testing.B) {
	for _, classes := range []int{100, 1000, 16_000} {
		for _, view := range []bool{false, true} {
			b.Run(fmt.Sprintf("classes=%d/view=%v", classes, view), func(b *testing.B) {
				bundle := manyClasses(b, classes, true, true)
				bundle.view(roomy)
				for i := 0; b.Loop(); i++ {
					id := bundle.openAble("new", 4, task.Pair{Key: "host", Value: fmt.Sprint(i)})
					if view {
						bundle.view(roomy)
					}
					bundle.closeSession(id)
				}
			})
		}
	}
}
