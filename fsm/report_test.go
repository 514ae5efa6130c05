package fsm_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A report names tens of thousands of tasks in a few bytes. What it gives is as short.
func TestExceptionsAreAsShortAsTheirReport(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, fsm.MaxReported)
	r := b.report(1<<40, 0, fsm.MaxReported, 0, task.OutcomeSucceeded)
	require.Equal(t, []fsm.Exception{{Job: 1 << 40, Count: fsm.MaxReported, TokenOffset: 1, Verdict: fsm.Unknown}}, r.Exceptions)
	r = b.report(job, 0, fsm.MaxReported, 0, task.OutcomeSucceeded)
	require.Equal(t, []fsm.Exception{{Job: job, Count: fsm.MaxReported, TokenOffset: 1, Verdict: fsm.Superseded}}, r.Exceptions)
	r = b.report(job, fsm.MaxReported, 1000, 0, task.OutcomeSucceeded)
	require.Equal(t, []fsm.Exception{{Job: job, First: fsm.MaxReported, Count: 1000, TokenOffset: 1, Verdict: fsm.Unknown}}, r.Exceptions)
}

// Tokens count up, so anybody can name one. Only the session that holds a task may end it.
func TestOnlyItsSessionEndsATask(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", Serial: true}, 2)
	mine, others := b.openSession("w1", 1), b.openSession("w2", 1)
	b.plan(job, 0, 1, mine)
	op := reportOp(job, 0, 1, 0, task.OutcomeSucceeded)
	op.GetReport().Session = others
	require.Equal(t, []fsm.Exception{{Job: job, Count: 1, TokenOffset: 1, Verdict: fsm.Superseded}}, b.must(op).Exceptions)
	state, _ := b.m.Task(job, 0)
	require.Equal(t, task.Assigned, state.State)
	require.Zero(t, b.plan(job, 1, 1, others).Granted, "the next one would run beside the first")
	op.GetReport().Session = mine
	require.Empty(t, b.must(op).Exceptions)
	require.EqualValues(t, 1, b.plan(job, 1, 1, others).Granted)
}

// A worker whose task the servers have ended must not believe that its result was taken, though nobody was
// granted the task after it. What it sends again, it has been told of before.
func TestAReportOnWhatTheServersHaveEndedIsNotSaidToBeTaken(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", Timeout: time.Second, MaxAttempts: 1}, 4)
	session := b.openSession("w", 4)
	b.plan(job, 0, 4, session)
	b.must(cancelOp(job, 1))
	b.must(cancelOp(job, 2))
	require.Empty(t, b.report(job, 0, 2, 0, task.OutcomeSucceeded).Exceptions)
	b.clock += int64(2*time.Second + task.ReportMargin)
	r := b.must(&logpb.Op{Op: &logpb.Op_Overdue{Overdue: &logpb.Overdue{
		Session: session, Held: []*logpb.Held{{Job: job, TokenOffset: 1, Ranges: []*logpb.Range{{First: 0, Count: 4}}}},
	}}})
	require.EqualValues(t, 2, r.Total)
	late := reportOp(job, 0, 4, 0, task.OutcomeSucceeded)
	late.GetReport().Session = session
	require.Equal(t, []fsm.Exception{
		{Job: job, First: 0, Count: 2, TokenOffset: 1, Verdict: fsm.Already}, {Job: job, First: 2, Count: 2, TokenOffset: 1, Verdict: fsm.Superseded},
	}, b.must(late).Exceptions)
}

// What is sorted out before it is proposed gives the same verdicts as Apply.
func TestWhatASessionDoesNotHoldIsSortedOut(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, 1000)
	session := b.openSession("w", 1000)
	b.plan(job, 0, 600, session)
	b.report(job, 100, 50, 0, task.OutcomeSucceeded)
	outputs := func(first, count uint32) (packed []byte) {
		for i := range count {
			packed = task.PackAppend(packed, []byte{byte(first + i)})
		}
		return packed
	}
	group := func(first, count uint32) *logpb.ReportGroup {
		return &logpb.ReportGroup{
			Job: job, TokenOffset: 1, Ranges: []*logpb.Range{{First: first, Count: count}}, Outcome: uint32(task.OutcomeSucceeded), PackedOutputs: outputs(first, count),
		}
	}
	whole, mixed, none := group(0, 10), group(90, 100), group(700, 5)
	none.TokenOffset = -200
	sorted := b.m.SortOut(session, []*logpb.ReportGroup{whole, mixed, none})
	require.Equal(t, []int{10, 50, 0}, sorted.Counts)
	require.False(t, sorted.Ahead)
	require.Len(t, sorted.Held, 2)
	require.Same(t, whole, sorted.Held[0])
	require.Equal(t, append(outputs(90, 10), outputs(150, 40)...), sorted.Held[1].PackedOutputs)
	known, err := sorted.Exceptions(nil) // the disk knows nothing of it
	require.NoError(t, err)
	require.Equal(t, []fsm.Exception{
		{Job: job, First: 100, Count: 50, TokenOffset: 1, Verdict: fsm.Already}, {Job: job, First: 700, Count: 5, TokenOffset: -200, Verdict: fsm.Superseded},
	}, known)
	r := b.must(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: session, Groups: []*logpb.ReportGroup{whole, mixed, none}}}})
	require.Equal(t, known, r.Exceptions)

	none.TokenOffset = 1 << 40
	require.True(t, b.m.SortOut(session, []*logpb.ReportGroup{none}).Ahead, "nobody was granted that yet")
}

// Neighbours that were granted a different number of times have results of their own each. What
// one report says of all of them must not be kept as often.
func TestResultsOfOneReportTakeNoMoreThanItSays(t *testing.T) {
	t.Parallel()
	const tasks = 4096
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, tasks)
	session := b.openSession("w", tasks)
	b.plan(job, 0, tasks, session)
	stopped := &logpb.ReportGroup{Job: job, TokenOffset: 1, Outcome: uint32(task.OutcomeStopped)}
	returned := &logpb.ReportGroup{Job: job, TokenOffset: 1, Outcome: uint32(task.OutcomeReturned)}
	for i := uint32(0); i < tasks; i += 2 {
		stopped.Ranges = append(stopped.Ranges, &logpb.Range{First: i, Count: 1})
		returned.Ranges = append(returned.Ranges, &logpb.Range{First: i + 1, Count: 1})
	}
	report := func(groups ...*logpb.ReportGroup) {
		b.must(&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: session, Groups: groups}}})
	}
	report(stopped, returned)
	require.EqualValues(t, tasks, b.plan(job, 0, tasks, session).Granted)
	outputs := task.PackAppend(nil, make([]byte, 128<<10))
	for range tasks - 1 {
		outputs = task.PackAppend(outputs, []byte("x"))
	}
	report(&logpb.ReportGroup{
		Job: job, TokenOffset: 1 + tasks, Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError), Permanent: true,
		Ranges: []*logpb.Range{{First: 0, Count: tasks}}, Error: strings.Repeat("é", task.MaxError/2), StderrTail: make([]byte, task.MaxStderrTail),
		PackedOutputs: outputs,
	})
	segments, ok := b.m.Segments(job, 0, math.MaxInt)
	require.True(t, ok)
	require.Len(t, segments, tasks, "each has another attempt than its neighbours")
	size, taken := 0, 0
	for _, s := range segments {
		size += fsm.SegmentBytes(s.Segment)
		taken += cap(s.Segment.PackedOutputs)
		require.NotEmpty(t, s.Segment.Error)
	}
	require.Len(t, segments[0].Segment.StderrTail, task.MaxStderrTail)
	require.Less(t, size, 2<<20)
	require.Less(t, taken, 4*len(outputs))
}
