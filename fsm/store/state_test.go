package store

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/leaks"
	"github.com/rota-scheduler/rota/task"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// TestPayloadsAreReadAcrossTheFlush: the first tasks of a growing job are on disk, the last ones are not, and one
// run has tasks of both kinds.
func TestPayloadsAreReadAcrossTheFlush(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&logpb.Submit{Open: true}, &task.Spec{Handler: "h"})
	var want []byte
	for first := uint32(0); first < 900; first += 300 {
		tasks := &logpb.Tasks{Count: 300}
		for i := range tasks.Count {
			tasks.Packed = task.PackAppend(tasks.Packed, fmt.Appendf(nil, "payload %d", first+i))
		}
		want = append(want, tasks.Packed...)
		b.apply(&logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, FirstIndex: first, Tasks: tasks}}})
		if first < 600 {
			require.NoError(t, b.s.Flush())
		}
	}
	got, err := b.s.Payloads(job, 0, 900)
	require.NoError(t, err)
	require.Equal(t, want, got)
	skip, ok := task.PackSkip(want, 599)
	require.True(t, ok)
	got, err = b.s.Payloads(job, 599, 301)
	require.NoError(t, err)
	require.Equal(t, skip, got)
	_, err = b.s.Payloads(job, 899, 2)
	require.ErrorIs(t, err, task.ErrNotFound)
	_, err = b.s.Payloads(job+1, 0, 1)
	require.ErrorIs(t, err, task.ErrNotFound)
}

// TestAppendingToWhatIsLentDoesNotChangeIt: payloads in memory are shared with readers.
func TestAppendingToWhatIsLentDoesNotChangeIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&logpb.Submit{Tasks: packed(3, 0)}, &task.Spec{Handler: "h"})
	before, err := b.s.Payloads(job, 0, 3)
	require.NoError(t, err)
	one, err := b.s.Payloads(job, 0, 1)
	require.NoError(t, err)
	_ = append(one, "overwritten"...)
	require.Equal(t, packed(3, 0).Packed, before)
}

func TestJobsAreListedFromAnyIDDown(t *testing.T) {
	t.Parallel()
	b := newFilled(t) // of three jobs, one in memory
	for below, want := range map[uint64][]uint64{0: {3, 2, 1}, 1: nil, 2: {1}, 3: {2, 1}, 4: {3, 2, 1}, 5: {3, 2, 1}, 1 << 60: {3, 2, 1}} {
		records, next, _, err := b.s.JobsBelow(below, 10)
		require.NoError(t, err)
		var got []uint64
		for _, r := range records {
			got = append(got, r.Id)
		}
		require.Equal(t, want, got, "below %d", below)
		require.Zero(t, next, "below %d", below)
	}
}

// TestACollectedJobIsGoneAtOnce, though the disk has it until the next flush.
func TestACollectedJobIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	b.clock += int64(task.RetainSucceeded)
	b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{doneJob}}}})
	check := func() {
		_, err := b.s.Job(doneJob)
		require.ErrorIs(t, err, task.ErrNotFound)
		segments, _ := b.s.Segments(doneJob, 0, 1)
		require.Empty(t, segments)
		_, ok, _ := b.s.Cursor(doneJob, 0)
		require.False(t, ok)
		_, err = b.s.Payloads(doneJob, 0, 1)
		require.ErrorIs(t, err, task.ErrNotFound)
		page, _, _, err := b.s.JobsBelow(0, 3)
		require.NoError(t, err)
		require.Len(t, page, 2)
		require.EqualValues(t, inlineJob, page[0].Id)
	}
	check()
	require.NoError(t, b.s.Flush())
	check()
	b.reopen()
	check()
}

func TestCloseFlushesAndAbandonDoesNot(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.submit(&logpb.Submit{Tasks: packed(1, 0)}, &task.Spec{Handler: "h"})
	index := b.s.Machine().AppliedIndex()
	b.reopen() // it abandons
	require.Zero(t, b.s.Machine().AppliedIndex())
	b.submit(&logpb.Submit{Tasks: packed(1, 0)}, &task.Spec{Handler: "h"})
	require.NoError(t, b.s.Close())
	b.open(b.s.dir)
	require.Equal(t, index, b.s.Machine().AppliedIndex())
	require.NoError(t, b.s.Flush(), "there is nothing to flush")
	require.Positive(t, b.s.FileSize())
}

func TestTheFlusherWritesInTheBackground(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	f := NewFlusher(b.s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	require.False(t, f.Overloaded())
	for range 9 { // together more than starts a flush early
		b.submit(&logpb.Submit{Tasks: packed(2, task.MaxPayload-20)}, &task.Spec{Handler: "h"})
		f.Applied(ctx)
	}
	require.Eventually(t, func() bool {
		dirty, flushing := b.s.Machine().Pending()
		return dirty+flushing == 0
	}, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	b.reopen()
	require.Equal(t, 9, b.s.Machine().Stats().Jobs)
}

func TestMuchThatWaitsHoldsApplyBackUntilItIsWritten(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	f := NewFlusher(b.s)
	// Encoded once: it is a quarter of a gigabyte in all.
	spec, err := fsm.EncodeSpec(&task.Spec{Handler: "h"})
	require.NoError(t, err)
	data, err := fsm.EncodeEntry(fsm.GateVersion, b.clock, []*logpb.Op{{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: packed(120, task.MaxPayload-20)}}}})
	require.NoError(t, err)
	m := b.s.Machine()
	for dirty := int64(0); dirty < stopBytes; dirty, _ = m.Pending() {
		require.Equal(t, dirty > PushBackBytes, f.Overloaded())
		_, err := m.Apply(m.AppliedIndex()+1, 1, data)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	applied := make(chan struct{})
	go func() { f.Applied(ctx); close(applied) }()
	<-f.kick
	select {
	case <-applied:
		require.Fail(t, "Apply went on")
	default:
	}
	cancel()
	<-applied
}

// A batch for which there was no space is written again, as it was.
func TestACutThatIsWrittenAgainIsTheSame(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	small := b.submit(&logpb.Submit{Tasks: packed(3, 0), Key: "k", Hash: []byte("h")}, &task.Spec{Handler: "h"})
	b.work(small, 0, 3, 3, w)
	large := b.submit(&logpb.Submit{Tasks: packed(3, inlineBytes)}, &task.Spec{Handler: "h"})
	b.work(large, 0, 3, 3, w)
	half := b.submit(&logpb.Submit{Tasks: packed(4, 0)}, &task.Spec{Handler: "h"})
	b.work(half, 0, 3, 2, w)
	p := b.s.pair.Load()
	c := p.machine.TakeBatch()
	for range 3 {
		require.NoError(t, p.db.Write(c))
	}
	p.machine.Flushed(c)
	for job, want := range map[uint64]uint32{small: 3, large: 3, half: 2} {
		segments, err := b.s.Segments(job, 0, 1<<20)
		require.NoError(t, err)
		count := uint32(0)
		for _, s := range segments {
			require.Equal(t, count, s.First)
			count += s.Count
		}
		require.Equal(t, want, count, "results of job %d", job)
	}
	jobs, _, err := b.s.Due(math.MaxInt64, 10)
	require.NoError(t, err)
	require.Equal(t, []uint64{small, large}, jobs)
}

// What was forgotten leaves the file with the next flush, which may be late. Until then no more is forgotten to make
// the same room.
func TestNoMoreIsForgottenThanThereIsNoRoomFor(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	const jobs, size = 20, 100 << 10
	for i := range uint64(jobs) {
		require.Equal(t, i+1, b.submit(&logpb.Submit{Tasks: packed(1, size)}, &task.Spec{Handler: "h"}))
		b.work(i+1, 0, 1, 1, w)
	}
	require.NoError(t, b.s.Flush())
	used := b.s.pair.Load().db.Used()
	excess := func(room int64) []uint64 {
		got, err := b.s.Excess(room, 64)
		require.NoError(t, err)
		return got
	}
	require.Empty(t, excess(used))
	room := used - 5*size/2
	require.Equal(t, []uint64{1, 2, 3}, excess(room), "two and a half must go, the oldest first")
	b.apply(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{1, 2, 3}, OverBudget: true}}})
	require.Empty(t, excess(room), "their room is about to be free")
	require.Equal(t, []uint64{4}, excess(room-size/2-size/4))
	require.NoError(t, b.s.Flush())
	require.Less(t, b.s.pair.Load().db.Used(), room)
	require.Empty(t, excess(room))
	all, err := b.s.Excess(0, 64)
	require.NoError(t, err)
	require.Len(t, all, jobs-3)
	some, err := b.s.Excess(0, 5)
	require.NoError(t, err)
	require.Len(t, some, 5)
}

// A spec that jobs share makes room only when the last of these jobs goes.
func TestASharedSpecIsRoomOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	w := b.openSession("w")
	const jobs, size = 10, 200 << 10
	for i := range uint64(jobs) {
		spec := sharing(size)
		spec.SharedPayload[0] = byte(i / 2) // two by two
		require.Equal(t, i+1, b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, spec))
		b.work(i+1, 0, 1, 1, w)
	}
	require.NoError(t, b.s.Flush())
	got, err := b.s.Excess(b.s.pair.Load().db.Used()-3*size/2, 64)
	require.NoError(t, err)
	require.Equal(t, []uint64{1, 2, 3, 4}, got)
}

// The pages of a large job are stored apart from each other. All pages whose tasks are all done share one
// representation.
func TestALargeJobIsSweptAndReadAgain(t *testing.T) {
	t.Parallel()
	const tasks = 400 * 1024 // 1,600 pages
	b := newBundle(t)
	w := b.openSession("w")
	job := b.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: tasks}}, &task.Spec{Handler: "h"})
	sound := func() {
		t.Helper()
		require.Empty(t, b.s.Machine().CheckInvariants())
		require.NoError(t, b.s.Flush())
		require.Empty(t, b.s.Machine().CheckInvariants())
		b.reopen()
		require.Empty(t, b.s.Machine().CheckInvariants())
	}
	b.work(job, 0, 10, 5, w)
	for _, i := range []uint32{tasks - 1, 300_000, 70_000} {
		b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Index: &i, Reason: uint32(task.ReasonUser)}}})
	}
	sound()
	b.apply(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Reason: uint32(task.ReasonUser), Step: 700}}})
	sound()
	for range 5 {
		b.apply(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}, Step: 500}}})
		sound()
	}
	for i, final := range map[uint32]bool{4: true, 7: false, 70_000: true, 70_001: true, 300_000: true, 300_001: true, tasks - 2: true, tasks - 1: true} {
		_, ended, _ := b.s.Machine().Cursor(job, i)
		require.Equal(t, final, ended, "task %d", i)
	}
	b.fail(job, w, "no luck", &logpb.Range{First: 5, Count: 5})
	require.NoError(t, b.s.Flush())
	rec, err := b.s.Job(job)
	require.NoError(t, err)
	require.NotZero(t, rec.FinishedNs)
	require.EqualValues(t, 5, rec.Counts[task.Succeeded])
	require.EqualValues(t, tasks-5, rec.Counts[task.Cancelled])
	require.Zero(t, b.s.Machine().Stats().Jobs)
}
