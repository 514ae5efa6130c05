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

// Neighbours that were granted a different number of times have a result each. What one report says about all of
// them must not be kept once for each.
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

// group is a report of one group; change changes it.
func group(session, job uint64, first, count uint32, offset int64, change func(*logpb.ReportGroup)) *logpb.Op {
	op := reportOp(job, first, count, offset, task.OutcomeSucceeded)
	op.GetReport().Session = session
	change(op.GetReport().Groups[0])
	return op
}

// What a report makes of a task that may be tried three times.
func TestAReportDecidesWhatBecomesOfATask(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outcome   task.Outcome
		permanent bool
		failed    int // attempts that failed before
		state     task.State
		reason    task.Reason
		// next is the number of the attempt that follows; 0: none does.
		next uint32
	}{
		"success":             {outcome: task.OutcomeSucceeded, state: task.Succeeded},
		"success at last":     {outcome: task.OutcomeSucceeded, failed: 2, state: task.Succeeded},
		"a failure":           {outcome: task.OutcomeFailed, state: task.Scheduled, reason: task.ReasonError, next: 2},
		"another":             {outcome: task.OutcomeFailed, failed: 1, state: task.Scheduled, reason: task.ReasonError, next: 3},
		"the last":            {outcome: task.OutcomeFailed, failed: 2, state: task.Failed, reason: task.ReasonError},
		"a permanent failure": {outcome: task.OutcomeFailed, permanent: true, state: task.Failed, reason: task.ReasonError},
		"handed back":         {outcome: task.OutcomeReturned, state: task.Pending, next: 1},
		"handed back, later":  {outcome: task.OutcomeReturned, failed: 2, state: task.Pending, reason: task.ReasonError, next: 3},
		"stopped":             {outcome: task.OutcomeStopped, state: task.Pending, next: 2},
		"stopped, later":      {outcome: task.OutcomeStopped, failed: 2, state: task.Pending, reason: task.ReasonError, next: 4},
		"lost":                {outcome: task.OutcomeLost, state: task.Scheduled, reason: task.ReasonWorkerLost, next: 2},
		"lost, is no failure": {outcome: task.OutcomeLost, failed: 2, state: task.Scheduled, reason: task.ReasonWorkerLost, next: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			s := b.openSession("w", 1)
			job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 3}, 1)
			for n := range c.failed {
				require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
				b.report(job, 0, 1, int64(n), task.OutcomeFailed)
				b.clock += int64(time.Hour)
			}
			require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
			r := b.must(group(s, job, 0, 1, int64(c.failed), func(g *logpb.ReportGroup) {
				g.Outcome, g.Permanent = uint32(c.outcome), c.permanent
				if c.outcome == task.OutcomeFailed {
					g.Reason = uint32(task.ReasonError)
				}
				g.PackedOutputs = task.PackAppend(nil, []byte("out"))
			}))
			require.Empty(t, r.Exceptions)
			require.Empty(t, b.m.CheckInvariants())
			got, known := b.m.Task(job, 0)
			require.True(t, known)
			require.Equal(t, c.state, got.State)
			require.Equal(t, c.reason, got.Reason)
			require.Zero(t, got.Session)
			rec, _ := b.m.Job(job)
			segments, _ := b.m.Segments(job, 0, 1000)
			if c.next == 0 {
				require.Equal(t, b.clock, rec.FinishedNs)
				require.Len(t, segments, 1)
				require.Equal(t, task.PackAppend(nil, []byte("out")), segments[0].Segment.PackedOutputs)
				require.Equal(t, "w", segments[0].Segment.Worker)
				require.EqualValues(t, c.failed+1, segments[0].Segment.Attempt)
				require.Equal(t, b.clock, segments[0].Segment.FinishedNs)
				return
			}
			require.Zero(t, rec.FinishedNs)
			require.Empty(t, segments)
			waits := c.state == task.Scheduled
			require.Equal(t, waits, b.plan(job, 0, 1, s).Granted == 0, "it is tried again at once, or is not")
			require.Equal(t, waits, got.NotBefore > b.clock)
			b.clock = max(b.clock, got.NotBefore)
			if waits {
				require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
			}
			got, _ = b.m.Task(job, 0)
			require.Equal(t, c.next, got.Attempt)
		})
	}
}

func TestAReportThatIsNotWellFormedIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 3)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.plan(job, 0, 3, s)
	for name, c := range map[string]struct {
		change func(*logpb.ReportGroup)
		says   string
	}{
		"no outcome":           {func(g *logpb.ReportGroup) { g.Outcome = 0 }, "unknown outcome 0"},
		"an unknown outcome":   {func(g *logpb.ReportGroup) { g.Outcome = 6 }, "unknown outcome 6"},
		"an outcome with bits": {func(g *logpb.ReportGroup) { g.Outcome += 256 }, "unknown outcome 257"},
		"an unknown reason":    {func(g *logpb.ReportGroup) { g.Reason = 99 }, "unknown reason 99"},
		"tasks beyond all":     {func(g *logpb.ReportGroup) { g.Ranges[0].First = task.MaxTasks }, "the report names tasks beyond"},
		"tasks that overflow":  {func(g *logpb.ReportGroup) { g.Ranges[0].First = math.MaxUint32 }, "the report names tasks beyond"},
		"too many":             {func(g *logpb.ReportGroup) { g.Ranges[0].Count = fsm.MaxReported + 1 }, "more than"},
		"too many in all": {func(g *logpb.ReportGroup) {
			g.Ranges = []*logpb.Range{{Count: fsm.MaxReported - 1}, {Count: 2}}
		}, "more than"},
	} {
		t.Log(name)
		// What is wrong with one group holds for the whole report.
		op := group(s, job, 0, 1, 0, func(*logpb.ReportGroup) {})
		op.GetReport().Groups = append(op.GetReport().Groups, group(s, job, 1, 1, 0, c.change).GetReport().Groups...)
		b.refused(op, task.ErrInvalid, c.says)
	}
}

// If a report on a group is accepted in part, each task still gets the output that its worker packed for it.
func TestOutputsStayWithTheirTasks(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 5)
	job := b.submit(&task.Spec{Handler: "h"}, 5)
	b.plan(job, 0, 5, s)
	b.report(job, 1, 2, 0, task.OutcomeSucceeded)
	b.must(group(s, job, 0, 5, 0, func(g *logpb.ReportGroup) {
		for i := range 5 {
			g.PackedOutputs = task.PackAppend(g.PackedOutputs, []byte{'a' + byte(i)})
			g.PackedUsage = task.PackAppend(g.PackedUsage, []byte{'A' + byte(i)})
		}
	}))
	segments, ok := b.m.Segments(job, 2, 1000)
	require.True(t, ok)
	require.Len(t, segments, 1)
	got := segments[0].Segment
	require.Equal(t, []uint32{0, 1, 3, 2}, []uint32{got.Ranges[0].First, got.Ranges[0].Count, got.Ranges[1].First, got.Ranges[1].Count})
	require.Equal(t, task.PackAppend(task.PackAppend(task.PackAppend(nil, []byte("a")), []byte("d")), []byte("e")), got.PackedOutputs)
	require.Equal(t, task.PackAppend(task.PackAppend(task.PackAppend(nil, []byte("A")), []byte("D")), []byte("E")), got.PackedUsage)
}

// A task that ends the process that watches over it, again and again, is as bad as one that ends its worker: it is
// not tried again at once, and not for ever.
func TestATaskThatIsLostAgainAndAgainEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 1}, 1)
	for lost := 1; ; lost++ {
		require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
		info, ok := b.m.Task(job, 0)
		require.True(t, ok)
		require.EqualValues(t, lost, info.Attempt)
		b.report(job, 0, 1, int64(info.Token)-1, task.OutcomeLost)
		info, _ = b.m.Task(job, 0)
		if lost == task.MaxLost {
			require.Equal(t, task.Failed, info.State)
			require.Equal(t, task.ReasonWorkerLost, info.Reason)
			return
		}
		require.Equal(t, task.Scheduled, info.State)
		require.Zero(t, b.plan(job, 0, 1, s).Granted, "it waits")
		b.clock += int64(time.Hour)
	}
}
