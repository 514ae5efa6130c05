package worker

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

func noop(context.Context, *Task) ([]byte, error) { return nil, nil }

func sixteen(_ context.Context, t *Task) ([]byte, error) { return t.Payload[:16], nil }

// BenchmarkSlots takes tasks from their assignment to the answer to their report, without a network: held tasks,
// slots, handler, outbox. An operation is a task.
func BenchmarkSlots(b *testing.B) {
	for _, slots := range []int{1, 4, 64} {
		for _, payload := range []int{0, 64} {
			b.Run(fmt.Sprintf("slots=%d/payload=%d", slots, payload), func(b *testing.B) { benchmarkSlots(b, slots, payload) })
		}
	}
}

func benchmarkSlots(b *testing.B, slots, payload int) {
	h := noop
	if payload > 0 {
		h = sixteen
	}
	w, err := New(Config{Addrs: []string{"unused:1"}, Slots: slots, Handlers: map[string]Handler{"h": h}})
	require.NoError(b, err)
	for _, s := range w.held.slots {
		go w.serveSlot(context.Background(), s)
	}
	b.ReportAllocs()
	b.ResetTimer()
	const ahead = 1024
	assigned, reported := 0, 0
	for reported < b.N {
		if n := min(ahead-(assigned-reported), b.N-assigned); n >= ahead/4 || n > 0 && n == b.N-assigned {
			a := handlerWork(1, uint32(assigned), uint32(n), "h")
			if payload > 0 {
				for range n {
					a.PackedPayloads = task.PackAppend(a.PackedPayloads, make([]byte, payload))
				}
			}
			_ = w.assigned(&rotav1.Assignments{Assignments: []*rotav1.Assignment{a}})
			assigned += n
		}
		m := w.out.Next()
		if m == nil {
			<-w.out.Ready()
			continue
		}
		groups := w.out.Settle(m.GetSeq())
		w.held.answered(groups)
		for _, g := range groups {
			for _, r := range g.GetRanges() {
				reported += int(r.GetCount())
			}
		}
	}
	b.StopTimer()
	w.held.close()
	for range slots {
		<-w.slotDone
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkScattered assigns and answers every other task of a job, one by one in a random order: as many ranges as
// a worker can be made to hold.
func BenchmarkScattered(b *testing.B) {
	const tasks = 200_000
	order := rand.New(rand.NewPCG(1, 2)).Perm(tasks)
	w := &work{}
	for b.Loop() {
		h := newHeldTasks(1, report.NewOutbox())
		for _, i := range order {
			h.assign([]*assignment{{grant: report.Grant{Job: 1}, work: w, next: uint32(2 * i), end: uint32(2*i + 1)}})
		}
		for _, i := range order {
			h.answered([]*rotav1.ReportGroup{{JobId: 1, Ranges: []*rotav1.IndexRange{{First: uint32(2 * i), Count: 1}}}})
		}
		require.Zero(b, h.attempts.count)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tasks, "ns/task")
}

// BenchmarkSession is BenchmarkSlots over a stream to a leader in this process.
func BenchmarkSession(b *testing.B) {
	d := setup(b, Config{Slots: 4, Handlers: map[string]Handler{"h": noop}}, func(d *double) { d.countOnly = true })
	b.ReportAllocs()
	b.ResetTimer()
	const ahead = 4096
	assigned := 0
	for {
		reported := int(d.counted.Load())
		if reported >= b.N {
			break
		}
		if n := min(ahead-(assigned-reported), b.N-assigned); n >= ahead/4 || n > 0 && n == b.N-assigned {
			d.assign(b, handlerWork(1, uint32(assigned), uint32(n), "h"))
			assigned += n
			continue
		}
		<-d.progress
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// BenchmarkCommands runs commands that do nothing.
func BenchmarkCommands(b *testing.B) {
	d := setup(b, Config{Slots: 4, Commands: true}, func(d *double) { d.countOnly = true })
	b.ResetTimer()
	a := commandWork(1, "true")
	a.Range.Count = uint32(b.N)
	d.assign(b, a)
	for int(d.counted.Load()) < b.N {
		<-d.progress
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}

// BenchmarkDirectCommands is the baseline of BenchmarkCommands: the same commands by os/exec, without a guard, as
// many at once.
func BenchmarkDirectCommands(b *testing.B) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				c := exec.Command("true")
				c.Stdout, c.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
				c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				if err := c.Run(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
}
