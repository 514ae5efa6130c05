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

// One group may name tasks of all kinds. What is held is recorded, and the others get their verdicts in the group's order.
func TestVerdictsStandInTheOrderOfTheReport(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s, other := b.openSession("w", 10), b.openSession("other", 10)
	job := b.submit(&task.Spec{Handler: "h"}, 1000)
	b.plan(job, 0, 10, s)
	b.plan(job, 10, 2, other)
	b.report(job, 0, 2, 0, task.OutcomeSucceeded)
	r := b.must(group(s, job, 0, 0, 0, func(g *logpb.ReportGroup) {
		g.Ranges = []*logpb.Range{{First: 998, Count: 4}, {First: 10, Count: 2}, {First: 12, Count: 600}, {First: 5, Count: 1}, {First: 700, Count: 1}, {First: 0, Count: 2}}
	}))
	require.Equal(t, []fsm.Exception{
		{Job: job, First: 998, Count: 2, TokenOffset: 1, Verdict: fsm.Superseded},
		{Job: job, First: 1000, Count: 2, TokenOffset: 1, Verdict: fsm.Unknown},
		{Job: job, First: 10, Count: 602, TokenOffset: 1, Verdict: fsm.Superseded},
		{Job: job, First: 700, Count: 1, TokenOffset: 1, Verdict: fsm.Superseded},
		{Job: job, First: 0, Count: 2, TokenOffset: 1, Verdict: fsm.Already},
	}, r.Exceptions)
	require.Equal(t, 2+2+602+1+2, fsm.Excepted(r.Exceptions))
	require.Equal(t, task.Succeeded, b.states(job)[5])
	require.Equal(t, task.Assigned, b.states(job)[10])
	require.Empty(t, b.m.CheckInvariants())
}

// Memory answers as long as it can. The disk is asked about the rest only.
func TestWhatHasLeftMemoryIsAskedOfTheDisk(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{}
	b.m = fsm.New(history, nil)
	s := b.openSession("w", fsm.PageTasks)
	job := b.submit(&task.Spec{Handler: "h"}, 600)
	b.plan(job, 0, fsm.PageTasks, s)
	b.report(job, 0, fsm.PageTasks, 0, task.OutcomeSucceeded)
	require.Equal(t, []fsm.Exception{{Job: job, Count: fsm.PageTasks, TokenOffset: 1, Verdict: fsm.Already}},
		b.report(job, 0, fsm.PageTasks, 0, task.OutcomeSucceeded).Exceptions)
	require.Zero(t, history.asked)
	b.flush()
	require.Equal(t, []fsm.Exception{
		{Job: job, First: 0, Count: 7, TokenOffset: 100, Verdict: fsm.Already},
		{Job: job, First: 7, Count: 1, TokenOffset: 100, Verdict: fsm.Superseded},
		{Job: job, First: 8, Count: fsm.PageTasks - 8, TokenOffset: 100, Verdict: fsm.Already},
		{Job: job, First: fsm.PageTasks, Count: 300 - fsm.PageTasks, TokenOffset: 100, Verdict: fsm.Superseded},
	}, b.report(job, 0, 300, 99, task.OutcomeSucceeded).Exceptions)
	require.Equal(t, 1, history.asked)
	require.Equal(t, fsm.PageTasks, history.tasks)
}

// The disk may still have a job that was collected.
func TestACollectedJobIsUnknown(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{}
	b.m = fsm.New(history, nil)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.must(cancelJobOp(job))
	b.must(overBudget(collectOp(job)))
	r := b.report(job, 0, 3, 99, task.OutcomeSucceeded)
	require.Equal(t, []fsm.Exception{{Job: job, Count: 3, TokenOffset: 100, Verdict: fsm.Unknown}}, r.Exceptions)
	require.Zero(t, history.asked)
}

func TestTheDiskDecidesByTheLastToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last fsm.LastToken
		want fsm.Verdict
	}{
		"reported under it":   {fsm.LastToken{TokenOffset: 5, Granted: true, Known: true}, fsm.Already},
		"under another":       {fsm.LastToken{TokenOffset: 6, Granted: true, Known: true}, fsm.Superseded},
		"ended by servers":    {fsm.LastToken{TokenOffset: 5, Granted: true, Known: true, Unreported: true}, fsm.Superseded},
		"never granted":       {fsm.LastToken{TokenOffset: 5, Known: true}, fsm.Superseded},
		"nothing is known":    {fsm.LastToken{}, fsm.Unknown},
		"though it has marks": {fsm.LastToken{TokenOffset: 5, Granted: true}, fsm.Unknown},
	} {
		sorted := newBundle(t).m.SortOut(1, []*logpb.ReportGroup{tokensOf(9, 2, 3, 5)})
		out, err := sorted.Exceptions(func(job uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) error {
			require.EqualValues(t, 9, job)
			require.Equal(t, []task.Range{{First: 2, Count: 3}}, tasks)
			f(task.Range{First: 2, Count: 1}, c.last)
			f(task.Range{First: 3, Count: 2}, c.last)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, []fsm.Exception{{Job: 9, First: 2, Count: 3, TokenOffset: 5, Verdict: c.want}}, out, name)
	}
}

// A report names tens of thousands of tasks in a few bytes. Its exceptions are as short.
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

// A worker whose task the servers have ended must not believe that its result was taken, even if nobody was granted
// the task after it. A report that it repeats gets the verdict Already.
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

// A report whose answer was lost is sent again under the same token.
func TestARepeatedReportIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.plan(job, 0, 2, b.openSession("w", 2))
	op := reportOp(job, 0, 2, 0, task.OutcomeSucceeded)
	require.Empty(t, b.must(op).Exceptions)
	rec, _ := b.m.Job(job)
	again := []fsm.Exception{{Job: job, Count: 2, TokenOffset: 1, Verdict: fsm.Already}}
	require.Equal(t, again, b.must(op).Exceptions)
	op.GetReport().Session = 99
	require.Equal(t, again, b.must(op).Exceptions, "from a session that has taken its place")
	require.Equal(t, again, b.must(reportOp(job, 0, 2, 0, task.OutcomeFailed)).Exceptions, "whatever it says now")
	behind, _ := b.m.Job(job)
	require.True(t, proto.Equal(rec, behind), "an outcome was recorded twice")
}

// The token of an attempt that was given up counts for nothing, whatever became of the task.
func TestALateReportIsSuperseded(t *testing.T) {
	t.Parallel()
	for name, become := range map[string]func(b *testBundle, job, first, second uint64){
		"handed back":        func(b *testBundle, job, _, _ uint64) { b.report(job, 0, 1, 0, task.OutcomeReturned) },
		"waits for its time": func(b *testBundle, job, _, _ uint64) { b.report(job, 0, 1, 0, task.OutcomeFailed) },
		"runs again, at the same worker": func(b *testBundle, job, first, _ uint64) {
			b.report(job, 0, 1, 0, task.OutcomeReturned)
			b.plan(job, 0, 1, first)
		},
		"its session is over": func(b *testBundle, _, first, _ uint64) { b.closeSession(first) },
		"runs elsewhere":      func(b *testBundle, job, first, second uint64) { b.closeSession(first); b.plan(job, 0, 1, second) },
		"has ended elsewhere": func(b *testBundle, job, first, second uint64) {
			b.closeSession(first)
			b.plan(job, 0, 1, second)
			b.report(job, 0, 1, 1, task.OutcomeSucceeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			first, second := b.openSession("w1", 1), b.openSession("w2", 1)
			job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 2}, 2)
			b.plan(job, 0, 1, first)
			become(b, job, first, second)
			before, known := b.m.Task(job, 0)
			require.True(t, known)
			r := b.must(reportOp(job, 0, 1, 0, task.OutcomeSucceeded))
			require.Equal(t, []fsm.Exception{{Job: job, Count: 1, TokenOffset: 1, Verdict: fsm.Superseded}}, r.Exceptions)
			behind, _ := b.m.Task(job, 0)
			require.Equal(t, before, behind)
			require.Empty(t, b.m.CheckInvariants())
		})
	}
}

// Workers that come back report thousands of tasks late. Apply asks the disk once for all tasks of a group: one read
// for each task kept it busy for seconds.
func TestALateReportAsksTheDiskOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{jobs: map[uint64]*logpb.JobRecord{3: {}}}
	b.m = fsm.New(history, nil)
	r := b.report(3, 0, 2000, 99, task.OutcomeSucceeded)
	require.Equal(t, 1, history.asked)
	require.Equal(t, 2000, history.tasks)
	require.Equal(t, []fsm.Exception{
		{Job: 3, First: 0, Count: 7, TokenOffset: 100, Verdict: fsm.Already},
		{Job: 3, First: 7, Count: 1, TokenOffset: 100, Verdict: fsm.Superseded}, // never granted
		{Job: 3, First: 8, Count: 992, TokenOffset: 100, Verdict: fsm.Already},
		{Job: 3, First: 1000, Count: 1000, TokenOffset: 100, Verdict: fsm.Unknown},
	}, r.Exceptions)
	require.Equal(t, 2000, fsm.Excepted(r.Exceptions))
	r = b.report(3, 5, 1, 100, task.OutcomeSucceeded)
	require.Equal(t, fsm.Superseded, r.Exceptions[0].Verdict)
}

// TestAReportOnATaskThatNeverRanIsSuperseded, whether its end is on disk or not.
func TestAReportOnATaskThatNeverRanIsSuperseded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, 600)
	b.must(cancelOp(job, 3))
	b.must(cancelOp(job, 400))
	r := b.report(job, 3, 1, 0, task.OutcomeSucceeded)
	require.Equal(t, fsm.Superseded, r.Exceptions[0].Verdict)
	b.must(cancelJobOp(job))
	r = b.report(job, 20, 1, 0, task.OutcomeSucceeded)
	require.Equal(t, fsm.Superseded, r.Exceptions[0].Verdict)
}
