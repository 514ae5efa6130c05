package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func expireOp(jobs ...uint64) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: jobs}}}
}

// Task 0 has succeeded, 1 runs, 2 waits for its next attempt, 3 was handed back, and 4 was never granted.
func halfway(b *testBundle, spec *task.Spec) (job, session uint64) {
	spec.Handler, spec.MaxAttempts = "h", 3
	session = b.openSession("w", 4)
	job = b.submit(spec, 5)
	b.plan(job, 0, 4, session)
	b.report(job, 0, 1, 0, task.OutcomeSucceeded)
	b.report(job, 2, 1, 0, task.OutcomeFailed)
	b.report(job, 3, 1, 0, task.OutcomeReturned)
	return job, session
}

// states is the states of the tasks of a job whose results are in memory.
func (b *testBundle) states(job uint64) (states []task.State) {
	b.t.Helper()
	rec, ok := b.m.Job(job)
	require.True(b.t, ok)
	segments, _ := b.m.Segments(job, 0, 1<<20)
	ended := map[uint32]task.State{}
	for _, s := range segments {
		for _, r := range s.Segment.Ranges {
			for i := r.First; i < r.First+r.Count; i++ {
				ended[i] = task.State(s.Segment.State)
			}
		}
	}
	for i := range rec.Total {
		got, known := b.m.Task(job, i)
		if !known {
			got.State = ended[i]
		}
		states = append(states, got.State)
	}
	return states
}

func TestACancelEndsWhatWaitsAndStopsWhatRuns(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	seen := &stops{}
	b.m.SetObserver(seen)
	job, _ := halfway(b, &task.Spec{})
	require.Equal(t, []task.State{task.Succeeded, task.Assigned, task.Scheduled, task.Pending, task.Pending}, b.states(job))
	r := b.must(cancelJobOp(job))
	require.Equal(t, job, r.Job)
	require.EqualValues(t, 3, r.Cancelled)
	require.EqualValues(t, 1, r.Stopping)
	require.Equal(t, 1, seen.n, "the worker is told")
	require.Equal(t, []task.State{task.Succeeded, task.Stopping, task.Cancelled, task.Cancelled, task.Cancelled}, b.states(job))
	require.Empty(t, b.m.CheckInvariants())

	// To ask again changes nothing.
	_, before := b.m.Digest()
	r = b.must(cancelJobOp(job))
	require.Zero(t, r.Cancelled)
	require.EqualValues(t, 1, r.Stopping)
	require.Equal(t, 1, seen.n)
	_, behind := b.m.Digest()
	require.Equal(t, before, behind)

	require.Empty(t, b.report(job, 1, 1, 0, task.OutcomeSucceeded).Exceptions)
	require.Equal(t, []task.State{task.Succeeded, task.Cancelled, task.Cancelled, task.Cancelled, task.Cancelled}, b.states(job), "the cancel came before the result")
	rec, _ := b.m.Job(job)
	require.Equal(t, b.clock, rec.FinishedNs)
	require.EqualValues(t, task.ReasonUser, rec.CancelReason)
}

func TestOneTaskIsCancelled(t *testing.T) {
	t.Parallel()
	for i, want := range map[uint32]task.State{1: task.Stopping, 2: task.Cancelled, 3: task.Cancelled, 4: task.Cancelled} {
		b := newBundle(t)
		job, session := halfway(b, &task.Spec{})
		expected := b.states(job)
		expected[i] = want
		r := b.must(cancelOp(job, i))
		require.Equal(t, want == task.Stopping, r.Stopping == 1, "task %d", i)
		require.Equal(t, want == task.Cancelled, r.Cancelled == 1, "task %d", i)
		require.Equal(t, expected, b.states(job), "the others go on")
		require.Empty(t, b.m.CheckInvariants())
		rec, _ := b.m.Job(job)
		require.Zero(t, rec.CancelReason, "the job is not cancelled")
		require.Zero(t, rec.FinishedNs)

		b.clock += int64(time.Hour)
		if i > 1 {
			require.Zero(t, b.plan(job, i, 1, session).Granted)
			continue
		}
		require.EqualValues(t, 1, b.must(cancelOp(job, i)).Stopping, "it may be asked again")
		require.Equal(t, expected, b.states(job), "which changes nothing")
		b.report(job, i, 1, 0, task.OutcomeFailed)
		require.Equal(t, task.Cancelled, b.states(job)[i], "it is not tried again")
	}
}

func TestACancelThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{jobs: map[uint64]*logpb.JobRecord{50: {Id: 50, FinishedNs: int64(time.Hour)}}}
	b.m = fsm.New(history, nil)
	job, _ := halfway(b, &task.Spec{})
	ended := b.submit(&task.Spec{Handler: "h"}, 1)
	b.must(cancelJobOp(ended))
	withReason := func(op *logpb.Op, reason uint32) *logpb.Op {
		op = proto.CloneOf(op)
		op.GetCancel().Reason = reason
		return op
	}
	for name, c := range map[string]struct {
		op   *logpb.Op
		want error
		says string
	}{
		"no such job":       {cancelJobOp(99), task.ErrNotFound, "no job 99"},
		"a job of long ago": {cancelJobOp(50), task.ErrConflict, "ended at 1970-01-01T01:00:00Z"},
		"a job that ended":  {cancelJobOp(ended), task.ErrConflict, "has ended already"},
		"its task":          {cancelOp(ended, 0), task.ErrConflict, "has ended already"},
		"no such task":      {cancelOp(job, 5), task.ErrNotFound, "has no task 5 (tasks: 5, counted from 0)"},
		"a task that ended": {cancelOp(job, 0), task.ErrConflict, "has ended already"},
		"without a reason":  {withReason(cancelJobOp(job), 0), task.ErrInvalid, "without a reason"},
		"an unknown reason": {withReason(cancelJobOp(job), 77), task.ErrInvalid, "unknown reason 77"},
		"one that has bits": {withReason(cancelOp(job, 4), 256+uint32(task.ReasonUser)), task.ErrInvalid, "unknown reason"},
	} {
		t.Log(name)
		b.refused(c.op, c.want, c.says)
	}
}

// An open job that was cancelled takes no more tasks. One that has none ends with the cancel.
func TestACancelClosesAJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	empty := b.open(nil)
	r := b.must(cancelJobOp(empty))
	require.Zero(t, r.Cancelled+r.Stopping)
	rec, _ := b.m.Job(empty)
	require.False(t, rec.Open)
	require.Equal(t, b.clock, rec.FinishedNs)
	require.EqualValues(t, task.ReasonUser, rec.Reason)
	b.refused(appendOp(empty, 0, packed(1)), task.ErrConflict, "was cancelled")
}

// Tasks that a worker holds go on, because they have started in time.
func TestAnExpiryEndsWhatHasNotStarted(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job, session := halfway(b, &task.Spec{Expire: time.Hour})
	b.clock += int64(time.Hour) - 1
	require.Zero(t, b.must(expireOp(job, 99)).Cancelled, "its time has not come, whatever the leader says")
	b.clock++
	require.EqualValues(t, 3, b.must(expireOp(job)).Cancelled)
	require.Equal(t, []task.State{task.Succeeded, task.Assigned, task.Cancelled, task.Cancelled, task.Cancelled}, b.states(job))
	require.Zero(t, b.must(expireOp(job)).Cancelled, "once")
	rec, _ := b.m.Job(job)
	require.Zero(t, rec.CancelReason, "it was not cancelled")
	require.EqualValues(t, task.ReasonExpired, rec.Reason)
	require.Empty(t, b.m.CheckInvariants())
	b.report(job, 1, 1, 0, task.OutcomeFailed)
	b.clock += int64(time.Hour)
	require.EqualValues(t, 1, b.plan(job, 1, 1, session).Granted, "it is tried again")
}

// A growing job takes no more tasks when its time is over: they would expire on arrival.
func TestAnExpiryClosesAJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.must(submitOp(t, &task.Spec{Handler: "h", Expire: time.Second}, &logpb.Submit{Open: true, Tasks: packed(2)})).Job
	b.clock += int64(time.Second)
	require.EqualValues(t, 2, b.must(expireOp(job)).Cancelled)
	rec, _ := b.m.Job(job)
	require.False(t, rec.Open)
	require.EqualValues(t, task.ReasonExpired, rec.CancelReason)
	require.Equal(t, b.clock, rec.FinishedNs)
}

// TestAnEndedJobIsFinalForTheRestOfItsEntry: how a batch is cut into entries must not change any answer.
func TestAnEndedJobIsFinalForTheRestOfItsEntry(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h", Expire: time.Second}, 1)
	b.plan(job, 0, 1, s)
	b.clock += int64(time.Hour)
	results := b.apply(
		reportOp(job, 0, 1, 0, task.OutcomeSucceeded), cancelJobOp(job), cancelOp(job, 0), expireOp(job),
	)
	require.NoError(t, results[0].Err)
	require.ErrorIs(t, results[1].Err, task.ErrConflict)
	require.ErrorIs(t, results[2].Err, task.ErrConflict)
	rec, ok := b.m.Job(job)
	require.True(t, ok)
	require.Zero(t, rec.CancelReason, "a job that has succeeded is marked as cancelled")
	require.NotZero(t, rec.ExpireAtNs)
}

// What a command has printed before it was cancelled says how far it came. Entries of older versions keep meaning that
// it is not kept.
func TestACancelledTaskKeepsWhatItPrinted(t *testing.T) {
	t.Parallel()
	for version, kept := range map[uint32]bool{3: false, 4: true} {
		b := newBundle(t)
		b.must(riseOp(version))
		b.openSession("w", 2)
		job := b.submit(&task.Spec{Handler: "h"}, 2)
		b.plan(job, 0, 2, 1)
		b.must(cancelOp(job, 0))
		for i, outcome := range []task.Outcome{task.OutcomeStopped, task.OutcomeSucceeded} {
			op := reportOp(job, uint32(i), 1, 0, outcome)
			g := op.GetReport().Groups[0]
			g.PackedOutputs, g.OutputMissing, g.StderrTail, g.Error = task.PackAppend(nil, []byte("out")), 7, []byte("err"), "stopped"
			if kept {
				g.StderrMissing = 9
			}
			b.must(op)
		}
		segments, _ := b.m.Segments(job, 0, 1<<20)
		require.Len(t, segments, 2)
		got := segments[0].Segment
		require.EqualValues(t, task.Cancelled, got.State)
		require.Empty(t, got.Error, "how it would have ended does not matter")
		if !kept {
			require.Empty(t, got.PackedOutputs, "version %d", version)
			require.Empty(t, got.StderrTail)
			require.Zero(t, got.OutputMissing)
			continue
		}
		for _, s := range segments {
			require.Equal(t, task.PackAppend(nil, []byte("out")), s.Segment.PackedOutputs)
			require.Equal(t, "err", string(s.Segment.StderrTail))
			require.EqualValues(t, 7, s.Segment.OutputMissing)
			require.EqualValues(t, 9, s.Segment.StderrMissing)
		}
	}
}
