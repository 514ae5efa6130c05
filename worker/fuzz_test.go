package worker

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/report"
)

// delimited is messages one after the other, as FuzzServerMessages takes them.
func delimited(t testing.TB, messages ...*rotav1.SessionResponse) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, m := range messages {
		_, err := protodelim.MarshalTo(&b, m)
		require.NoError(t, err)
	}
	return b.Bytes()
}

func assignmentsOf(a ...*rotav1.Assignment) *rotav1.SessionResponse {
	return &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Assignments{Assignments: &rotav1.Assignments{Assignments: a}}}
}

func stopOf(h ...*rotav1.HeldTasks) *rotav1.SessionResponse {
	return &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Stop{Stop: &rotav1.Stop{Tasks: h}}}
}

// FuzzServerMessages: whatever a server says after its welcome, a worker neither panics nor
// holds more than it may, and what it reports is well-formed.
func FuzzServerMessages(f *testing.F) {
	exclusive := handlerWork(2, 0, 3, "h")
	exclusive.Work.Exclusive = true
	packed := handlerWork(1, 5, 2, "h")
	packed.PackedPayloads = task.PackAppend(task.PackAppend(nil, []byte("a")), []byte("b"))
	wrong := handlerWork(1, 0, 4, "h")
	wrong.PackedPayloads = []byte{1}
	wide := handlerWork(3, 0, 1<<31, "h")
	answer := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_ReportsAnswer{ReportsAnswer: &rotav1.ReportsAnswer{Seq: 1}}}
	beat := &rotav1.SessionResponse{Message: &rotav1.SessionResponse_BeatAnswer{BeatAnswer: &rotav1.BeatAnswer{Seq: 1, Term: 1, Stop: []*rotav1.HeldTasks{held(2, 0, 2)}}}}
	f.Add(delimited(f, assignmentsOf(handlerWork(1, 0, 10, "h"), exclusive, packed), answer, beat, stopOf(held(1, 3, 4)), answer))
	f.Add(delimited(f, assignmentsOf(wrong, wide, nil), stopOf(held(3, 7, 1<<31), nil), assignmentsOf(wide)))
	f.Add(delimited(f, stopOf(held(1, 0, 5)), assignmentsOf(handlerWork(1, 0, 8, "h")), &rotav1.SessionResponse{}))
	f.Add(delimited(f, &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Welcome{}}))
	kept, again, beyond := handlerWork(1, 0, 2, "h"), handlerWork(1, 2, 2, "h"), handlerWork(1, 4, 2, "h")
	kept.WorkNumber, again.WorkNumber, again.Work, beyond.WorkNumber = 3, 3, nil, workSlots+1
	f.Add(delimited(f, assignmentsOf(kept, again), assignmentsOf(beyond)))
	f.Add(delimited(f, assignmentsOf(again)))
	f.Add(delimited(f, assignmentsOf(kept), &rotav1.SessionResponse{Message: &rotav1.SessionResponse_Assignments{
		Assignments: &rotav1.Assignments{ForgetWorks: []uint32{3, 4, 0}},
	}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := New(Config{Addrs: []string{"127.0.0.1:1"}, Slots: 2, Handlers: map[string]Handler{"h": echo}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		w.id = &identity{}
		w.prepareProcesses()
		w.lease.welcome(time.Hour, bootNow(), false)
		w.lease.beat(true)
		silence := newWatchdog(func() {})
		defer silence.disarm()
		runs := map[*slot]*run{}
		for in := bytes.NewReader(data); in.Len() > 0; {
			m := &rotav1.SessionResponse{}
			if protodelim.UnmarshalFrom(in, m) != nil || w.handle(m, silence) != nil {
				break
			}
			require.LessOrEqual(t, w.held.attempts.count, maxHeld)
			for _, s := range w.held.slots {
				turn(t, w, s, runs)
			}
			requireSound(t, w)
		}
		w.held.drain()
		for _, s := range w.held.slots {
			turn(t, w, s, runs)
		}
		requireSound(t, w)
		for m := w.out.Next(); m != nil; m = w.out.Next() {
			requireReportable(t, m)
			w.held.answered(w.out.Settle(m.GetSeq()))
		}
		require.Zero(t, w.out.Size())
	})
}

// turn ends what a slot runs, and gives it its next task if there is one.
func turn(t *testing.T, w *Worker, s *slot, runs map[*slot]*run) {
	if r := runs[s]; r != nil {
		w.finish(r, report.Result{Kind: report.Succeeded, Output: r.task.Payload})
		delete(runs, s)
	}
	w.held.mu.Lock()
	waits := w.held.pick() != nil
	w.held.mu.Unlock()
	if !waits {
		w.held.free(s)
		return
	}
	r := newRun(t.Context())
	require.True(t, w.held.next(s, r))
	runs[s] = r
}

// requireSound requires that the counts of heldTasks are right.
func requireSound(t *testing.T, w *Worker) {
	h := w.held
	h.mu.Lock()
	defer h.mu.Unlock()
	total := 0
	for _, have := range h.attempts.byGrant {
		require.False(t, have.Empty())
		end, first := uint32(0), true
		for r := range have.All() {
			require.Positive(t, r.Count)
			require.True(t, first || end < r.First, "ranges touch, or are out of order")
			end, first = r.End(), false
			total += int(r.Count)
		}
	}
	require.Equal(t, total, h.attempts.count)
	waiting, exclusives := int64(0), 0
	for _, q := range []*assignmentQueue{&h.ordinary, &h.exclusive} {
		sum := int64(0)
		for _, a := range q.list[q.taken:] {
			sum += int64(a.len())
			if a.work.Exclusive {
				exclusives += a.len()
			}
		}
		require.Equal(t, sum, q.tasks.Load())
		waiting += sum
	}
	for _, s := range h.slots {
		if s.current != nil && s.current.work.Exclusive {
			exclusives++
		}
	}
	require.LessOrEqual(t, waiting, int64(total))
	require.Equal(t, exclusives, h.exclusives)
	require.GreaterOrEqual(t, h.givenUp, 0)
}

// requireReportable requires that a server takes a report.
func requireReportable(t *testing.T, m *rotav1.Reports) {
	for _, g := range m.GetGroups() {
		count := 0
		for _, r := range g.GetRanges() {
			require.LessOrEqual(t, uint64(r.GetFirst())+uint64(r.GetCount()), uint64(task.MaxTasks))
			require.NotZero(t, r.GetCount())
			count += int(r.GetCount())
		}
		require.NotZero(t, count)
		if len(g.GetPackedOutputs()) > 0 {
			require.NoError(t, task.PackCheck(g.GetPackedOutputs(), count, task.MaxPayload))
		}
	}
}
