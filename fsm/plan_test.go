package fsm_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// grants is what the leader is told about grants, and how often it is woken.
type grants struct {
	stops
	told  []fsm.Grant
	wakes int
}

func (g *grants) Granted(of fsm.Grant) { g.told = append(g.told, of) }
func (g *grants) Wake()                { g.wakes++ }

// A plan may come from an old view, or from a leader that no longer is one.
func TestAPlanGrantsWhatStillFits(t *testing.T) {
	t.Parallel()
	const s, job = 1, 1
	for name, c := range map[string]struct {
		spec    task.Spec
		before  func(b *testBundle)
		plan    *logpb.Op // of a job of 5 tasks and a session of 5 slots
		granted uint32
		refused uint32
	}{
		"all":             {plan: planOp(job, 0, 5, s), granted: 5},
		"beyond the last": {plan: planOp(job, 0, 9, s), granted: 5, refused: 4},
		"not the first":   {plan: planOp(job, 1, 2, s), refused: 2},
		"no such job":     {plan: planOp(9, 0, 2, s), refused: 2},
		"no such session": {plan: planOp(job, 0, 2, 9), refused: 2},
		"a session that is over": {
			plan: planOp(job, 0, 2, s), before: func(b *testBundle) { b.closeSession(s) }, refused: 2,
		},
		"a worker without its handler": {spec: task.Spec{Handler: "other"}, plan: planOp(job, 0, 2, s), refused: 2},
		"a worker without its label": {
			spec: task.Spec{Require: []task.Pair{{Key: "gpu", Value: "yes"}}}, plan: planOp(job, 0, 2, s), refused: 2,
		},
		"before its time": {spec: task.Spec{Delay: time.Second}, plan: planOp(job, 0, 2, s), refused: 2},
		"at its time": {
			spec: task.Spec{Delay: time.Second}, plan: planOp(job, 0, 2, s), before: func(b *testBundle) { b.clock += int64(time.Second) }, granted: 2,
		},
		"granted already": {
			plan: planOp(job, 0, 5, s), before: func(b *testBundle) { b.plan(job, 0, 2, s) }, granted: 3, refused: 2,
		},
		"cancelled": {plan: planOp(job, 0, 5, s), before: func(b *testBundle) { b.must(cancelOp(job, 0)) }, granted: 4, refused: 1},
		"a job that is cancelled": {
			plan: planOp(job, 0, 2, s), before: func(b *testBundle) { b.must(cancelJobOp(job)) }, refused: 2,
		},
		"handed back": {
			plan: planOp(job, 0, 1, s), granted: 1,
			before: func(b *testBundle) { b.plan(job, 0, 1, s); b.report(job, 0, 1, 0, task.OutcomeReturned) },
		},
		"waits for its next attempt": {
			plan: planOp(job, 0, 1, s), refused: 1,
			before: func(b *testBundle) { b.plan(job, 0, 1, s); b.report(job, 0, 1, 0, task.OutcomeFailed) },
		},
		"has waited for it": {
			plan: planOp(job, 0, 1, s), granted: 1,
			before: func(b *testBundle) {
				b.plan(job, 0, 1, s)
				b.report(job, 0, 1, 0, task.OutcomeFailed)
				b.clock += int64(task.BackoffMax)
			},
		},
		"its end is on disk": {
			plan: planOp(job, 0, 5, s), refused: 5,
			before: func(b *testBundle) {
				b.plan(job, 0, 5, s)
				b.report(job, 0, 5, 0, task.OutcomeSucceeded)
				b.flush()
			},
		},
		"more than may run": {spec: task.Spec{MaxParallel: 3}, plan: planOp(job, 0, 5, s), granted: 3, refused: 2},
		"one by one":        {spec: task.Spec{Serial: true}, plan: planOp(job, 0, 5, s), granted: 1, refused: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			require.EqualValues(t, s, b.openSession("w", 5))
			if c.spec.Handler == "" {
				c.spec.Handler = "h"
			}
			require.EqualValues(t, job, b.submit(&c.spec, 5))
			if c.before != nil {
				c.before(b)
			}
			seen := &grants{}
			b.m.SetObserver(seen)
			b.apply()
			_, before := b.m.Digest()
			r := b.must(c.plan)
			require.Equal(t, c.granted, r.Granted)
			require.Equal(t, c.refused, r.Refused)
			_, behind := b.m.Digest()
			require.Equal(t, c.granted == 0, before == behind)
			require.True(t, c.refused == 0 || seen.wakes > 0, "the leader makes another plan")
			require.Empty(t, b.m.CheckInvariants())
		})
	}
}

// A worker may hold more tasks than it has slots, but no exclusive task beyond its slots.
func TestAWorkerHoldsNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const slots = 2
	s := b.openSession("w", slots)
	job := b.submit(&task.Spec{Handler: "h"}, slots+task.MaxOutstanding+5)
	exclusive := b.submit(&task.Spec{Handler: "h", Serial: true}, 1)
	require.EqualValues(t, slots, b.plan(job, 0, slots, s).Granted)
	require.Zero(t, b.plan(exclusive, 0, 1, s).Granted)
	r := b.plan(job, slots, task.MaxOutstanding+5, s)
	require.EqualValues(t, task.MaxOutstanding, r.Granted)
	require.EqualValues(t, 5, r.Refused)
	require.Empty(t, b.m.CheckInvariants())
}

func TestAPlanThatIsNotWellFormedIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h"}, 1)
	for name, more := range map[string]*logpb.Assign{
		"tasks beyond all":    {Job: job, First: task.MaxTasks, Count: 1, Session: s},
		"tasks that overflow": {Job: job, First: math.MaxUint32, Count: 1, Session: s},
		"too many in all":     {Job: job, Count: fsm.MaxPlanned, Session: s},
	} {
		t.Log(name)
		op := planOp(job, 0, 1, s)
		op.GetApplyPlan().Assign = append(op.GetApplyPlan().Assign, more)
		b.refused(op, task.ErrInvalid, "the plan names tasks beyond")
	}
	require.EqualValues(t, 1, b.plan(job, 0, fsm.MaxPlanned, s).Granted, "as many as a plan may name")
}

// Workers are told of runs of neighbours with the same attempt. Tokens count up.
func TestGrantsAreToldInRuns(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	job := b.submit(&task.Spec{Handler: "h"}, 7)
	b.plan(job, 0, 3, s)
	b.report(job, 0, 1, 0, task.OutcomeReturned) // does not count as an attempt
	b.report(job, 1, 2, 0, task.OutcomeStopped)
	b.must(cancelOp(job, 5))
	seen := &grants{}
	b.m.SetObserver(seen)
	require.EqualValues(t, 6, b.plan(job, 0, 7, s).Granted)
	require.Equal(t, []fsm.Grant{
		{Session: s, Job: job, First: 0, Count: 1, TokenOffset: 4, Attempt: 1},
		{Session: s, Job: job, First: 1, Count: 2, TokenOffset: 4, Attempt: 2},
		{Session: s, Job: job, First: 3, Count: 2, TokenOffset: 4, Attempt: 1},
		{Session: s, Job: job, First: 6, Count: 1, TokenOffset: 3, Attempt: 1},
	}, seen.told)
}

func TestAJobStartsWithItsFirstGrant(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 2)
	job := b.submit(&task.Spec{Handler: "h"}, 2)
	require.Zero(t, record(b, job).StartedNs)
	b.clock++
	first := b.clock
	b.plan(job, 0, 1, s)
	b.clock++
	b.plan(job, 1, 1, s)
	require.Equal(t, first, record(b, job).StartedNs)
}

// No task of a serial job is granted before all tasks with lower indexes have ended, also while one of them waits
// for its next attempt.
func TestASerialJobIsGrantedInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 5)
	job := b.submit(&task.Spec{Handler: "h", Serial: true, MaxAttempts: 3}, 3)
	require.EqualValues(t, 1, b.plan(job, 0, 3, s).Granted)
	require.Zero(t, b.plan(job, 1, 1, s).Granted, "the first one runs")
	b.report(job, 0, 1, 0, task.OutcomeFailed)
	require.Zero(t, b.plan(job, 1, 1, s).Granted, "the first one is tried again")
	b.clock += int64(task.BackoffMax)
	require.EqualValues(t, 1, b.plan(job, 0, 3, s).Granted)
	b.report(job, 0, 1, 1, task.OutcomeSucceeded)
	require.EqualValues(t, 1, b.plan(job, 1, 2, s).Granted)
	require.Empty(t, b.m.CheckInvariants())
}

// TestAttemptsStandStillAtTheirHighest: a task that is handed back 65,535 times still has a number.
func TestAttemptsStandStillAtTheirHighest(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h"}, 1)
	ops := make([]*logpb.Op, 0, 2000)
	for token := int64(0); token < math.MaxUint16+2; {
		ops = ops[:0]
		for range cap(ops) / 2 {
			ops = append(ops, planOp(job, 0, 1, s), reportOp(job, 0, 1, token, task.OutcomeStopped))
			token++
		}
		refused := 0
		for _, r := range b.apply(ops...) {
			refused += len(r.Exceptions) + int(r.Refused)
		}
		require.Zero(t, refused)
	}
	b.plan(job, 0, 1, s)
	got, _ := b.m.Task(job, 0)
	require.EqualValues(t, math.MaxUint16, got.Attempt)
}
