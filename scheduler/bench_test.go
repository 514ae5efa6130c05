package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// BenchmarkPlan plans the largest job for many workers with four slots each. Its tasks are known to take a given
// time; 0: nobody knows.
func BenchmarkPlan(b *testing.B) {
	for _, run := range []time.Duration{0, time.Microsecond, time.Minute} {
		for _, workers := range []int{20, 2000} {
			b.Run(fmt.Sprintf("run=%s/workers=%d", run, workers), func(b *testing.B) { benchmarkPlan(b, workers, run) })
		}
	}
}

// BenchmarkPlace places a small job among idle workers. They are all alike, or each has a label of its own, or none
// of them can run the job.
func BenchmarkPlace(b *testing.B) {
	for _, workers := range []int{10, 500, 5000} {
		for _, fleet := range []string{"alike", "each its own", "none can"} {
			b.Run(fmt.Sprintf("workers=%d/%s", workers, fleet), func(b *testing.B) {
				d := newDesk(b)
				for i := range workers {
					s := &logpb.Session{Slots: 4, Handlers: []string{"noop"}}
					if fleet != "alike" {
						s.Labels = []*logpb.Pair{{Key: "host", Value: fmt.Sprint(i)}}
					}
					d.worker(s)
				}
				spec := &task.Spec{Handler: "noop"}
				spec.SetDefaults()
				if fleet == "none can" {
					spec.Require = []task.Pair{{Key: "host", Value: "another"}}
				}
				b.ReportAllocs()
				for b.Loop() {
					assigns, done := d.f.Place(d.m, spec, 1)
					if (len(assigns) == 0) != (fleet == "none can") {
						b.Fatal(assigns)
					}
					done()
				}
			})
		}
	}
}

// BenchmarkPlaceAhead places a small job while many classes of its queue wait that come after it. They must cost
// nothing.
func BenchmarkPlaceAhead(b *testing.B) {
	for _, classes := range []int{100, 1000, 16_000} {
		b.Run(fmt.Sprintf("classes=%d", classes), func(b *testing.B) {
			d := newDesk(b)
			w := d.worker(&logpb.Session{Slots: 4, Handlers: []string{"noop"}})
			for i := range classes {
				spec := &task.Spec{Handler: "noop", Priority: -1, Require: []task.Pair{{Key: "host", Value: fmt.Sprint(i)}}}
				spec.SetDefaults()
				d.submit(spec, 1)
			}
			d.plan()
			spec := &task.Spec{Handler: "noop"}
			spec.SetDefaults()
			b.ReportAllocs()
			for b.Loop() {
				assigns, done := d.f.Place(d.m, spec, 1)
				if len(assigns) == 0 || assigns[0].Session != w {
					b.Fatal(assigns)
				}
				done()
			}
		})
	}
}

// BenchmarkTurns grants one task, while many queues wait for the one slot, and applies the grant. If they are stuck,
// they cannot use the slot, and they come before the queue that can.
func BenchmarkTurns(b *testing.B) {
	for _, stuck := range []bool{false, true} {
		for _, queues := range []int{10, 1000, 16_000} {
			b.Run(fmt.Sprintf("stuck=%v/queues=%d", stuck, queues), func(b *testing.B) {
				d := newDesk(b)
				w := d.worker(&logpb.Session{Slots: 1, Handlers: []string{"noop"}})
				for i := range queues {
					spec := &task.Spec{Handler: "noop", Queue: fmt.Sprint(i)}
					if stuck {
						spec.Handler = "another"
					}
					d.submit(spec, task.MaxTasks)
				}
				d.submit(&task.Spec{Handler: "noop"}, task.MaxTasks)
				d.m.AdvanceAndView(int64(d.index), 0, d.f.Extra) // so that everything is known
				b.ReportAllocs()
				for b.Loop() {
					op, _ := d.next.Plan(d.m, d.f, int64(d.index))
					for op == nil {
						op, _ = d.next.Plan(d.m, d.f, int64(d.index))
					}
					require.EqualValues(b, 1, d.apply(op).Granted)
					d.finish(w)
				}
			})
		}
	}
}

func benchmarkPlan(b *testing.B, workers int, run time.Duration) {
	m, f := fsm.New(noHistory{}, fsm.NewWatchers()), NewFleet(time.Minute)
	f.Begin(nil)
	index := uint64(0)
	apply := func(op *logpb.Op) fsm.Result {
		index++
		data, err := fsm.EncodeEntry(fsm.GateVersion, int64(index), []*logpb.Op{op})
		require.NoError(b, err)
		r, err := m.Apply(index, 1, data)
		require.NoError(b, err)
		require.NoError(b, r[0].Err)
		return r[0]
	}
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "noop"})
	require.NoError(b, err)
	job := apply(&logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: task.MaxTasks}}}}).Job
	for i := range workers {
		s := apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
			Worker: fmt.Sprint(i), Nonce: []byte("1"), Slots: 4, Handlers: []string{"noop", "other"},
		}}}}).Session
		require.True(b, f.Attach(s, &quiet{}))
		if run > 0 {
			f.Ran(s, Run{Job: job, Count: minKnownRun, Total: minKnownRun * run})
		}
	}
	var a Allocator
	b.ReportAllocs()
	for b.Loop() {
		if op, _ := a.Plan(m, f, int64(index)); op == nil {
			b.Fatal("nothing was planned")
		}
	}
}
