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
			require.LessOrEqual(t, w.board.count, maxHeld)
			for _, s := range w.board.slots {
				turn(t, w, s, runs)
			}
			requireSound(t, w)
		}
		w.board.drain()
		for _, s := range w.board.slots {
			turn(t, w, s, runs)
		}
		requireSound(t, w)
		for m := w.out.next(); m != nil; m = w.out.next() {
			requireReportable(t, m)
			w.board.answered(w.out.settle(m.GetSeq()))
		}
		require.Zero(t, w.out.bytes.Load())
	})
}

// turn ends what a slot runs, and gives it its next task where there is one.
func turn(t *testing.T, w *Worker, s *slot, runs map[*slot]*run) {
	if r := runs[s]; r != nil {
		w.finish(r, result{kind: kind{outcome: rotav1.Outcome_OUTCOME_SUCCEEDED}, output: r.task.Payload})
		delete(runs, s)
	}
	w.board.mu.Lock()
	waits := w.board.pick() != nil
	w.board.mu.Unlock()
	if !waits {
		w.board.free(s)
		return
	}
	r := newRun(t.Context())
	require.True(t, w.board.next(s, r))
	runs[s] = r
}

// requireSound requires that a board's numbers are those of what is on it.
func requireSound(t *testing.T, w *Worker) {
	b := w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	total := 0
	for _, s := range b.held {
		for i, r := range s.ranges {
			require.Less(t, r.first, r.end)
			require.True(t, i == 0 || s.ranges[i-1].end < r.first, "%v", s.ranges)
			total += int(r.end - r.first)
		}
	}
	require.Equal(t, total, b.count)
	waiting, exclusives := int64(0), 0
	for _, q := range []*spanQueue{&b.plain, &b.exclusive} {
		sum := int64(0)
		for _, s := range q.spans[q.taken:] {
			sum += int64(s.len())
			if s.work.Exclusive {
				exclusives += s.len()
			}
		}
		require.Equal(t, sum, q.tasks.Load())
		waiting += sum
	}
	for _, s := range b.slots {
		if s.current != nil && s.current.work.Exclusive {
			exclusives++
		}
	}
	require.LessOrEqual(t, waiting, int64(total))
	require.Equal(t, exclusives, b.exclusives)
	require.GreaterOrEqual(t, b.ending, 0)
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
