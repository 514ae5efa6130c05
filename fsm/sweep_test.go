package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxSwept is how many pages and single tasks one entry sweeps.
	maxSwept = 4096
	// sweptAtOnce is what one entry may end or stop: what it sweeps at most, and the rest of a page.
	sweptAtOnce = maxSwept + fsm.PageTasks
)

// stops counts the tasks that were asked to stop.
type stops struct{ n int }

func (*stops) Granted(fsm.Grant)                         {}
func (s *stops) Stopping(_, _ uint64, _ uint32, _ int64) { s.n++ }
func (*stops) SessionClosed(uint64)                      {}
func (*stops) Wake()                                     {}

// halfWorked is a job of which a third of the tasks waits for another attempt, a third can be granted, and a third
// is assigned to the session that is returned.
func halfWorked(b *testBundle, spec *task.Spec, tasks uint32) (job, session uint64) {
	spec.Handler, spec.MaxAttempts = "h", task.MaxAttempts
	session = b.openSession("w", task.MaxSlots)
	job = b.submit(spec, tasks)
	third := tasks / 3
	b.plan(job, 0, tasks, session)
	b.report(job, 0, third, 0, task.OutcomeFailed)
	b.report(job, third, third, 0, task.OutcomeReturned)
	return job, session
}

// step makes the leader do once what is due, and reports whether anything was due.
func (b *testBundle) step() bool {
	due, _ := b.m.Due(b.clock, 10)
	if len(due) == 0 {
		return false
	}
	b.must(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: due}}})
	return true
}

func record(b *testBundle, job uint64) *logpb.JobRecord {
	r, ok := b.m.Job(job)
	require.True(b.t, ok)
	return r
}

// A cancel is 10 bytes, and so is an expiry. What it makes Apply do must not grow with the job.
func TestAnEntryEndsSoManyTasksAtOnce(t *testing.T) {
	t.Parallel()
	const tasks = 18_000
	for name, c := range map[string]struct {
		spec  task.Spec
		begin func(b *testBundle, job uint64) fsm.Result
		held  uint32 // of those that are held, how many go on
	}{
		"cancel": {begin: func(b *testBundle, job uint64) fsm.Result { return b.must(cancelJobOp(job)) }},
		"expiry": {spec: task.Spec{Expire: time.Minute}, held: tasks / 3, begin: func(b *testBundle, job uint64) fsm.Result {
			b.clock += int64(time.Minute)
			return b.must(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}}}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			seen := &stops{}
			b.m.SetObserver(seen)
			job, session := halfWorked(b, &c.spec, tasks)
			done := func() int { return int(record(b, job).Received) + seen.n }
			r := c.begin(b, job)
			require.EqualValues(t, tasks/3*2, r.Cancelled, "all that waits is told at once")
			steps := 0
			for before, more := 0, true; more; steps++ {
				require.LessOrEqual(t, done()-before, sweptAtOnce, "step %d", steps)
				require.Empty(t, b.m.CheckInvariants())
				before = done()
				if more = record(b, job).Sweep != 0; more {
					require.Empty(t, b.viewAt(b.clock+int64(time.Hour), roomy).Queues, "nothing of it is granted any more")
					require.Zero(t, b.plan(job, 0, tasks, session).Granted)
					require.True(t, b.step())
				}
			}
			require.Greater(t, steps, 2)
			require.False(t, b.step())
			counts := record(b, job).Counts
			require.EqualValues(t, tasks/3*2, counts[task.Cancelled])
			require.EqualValues(t, c.held, counts[task.Assigned])
			require.EqualValues(t, tasks/3-c.held, counts[task.Stopping])
		})
	}
}

// If something happens to a task of a cancelled job before the sweep reaches it, it ends as if the sweep had been
// there.
func TestACancelHoldsForWhatTheSweepHasNotReached(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const tasks = 18_000
	job, session := halfWorked(b, &task.Spec{}, tasks)
	r := b.must(cancelJobOp(job))
	require.EqualValues(t, tasks/3, r.Stopping)
	got, known := b.m.Task(job, tasks-1)
	require.True(t, known)
	require.Equal(t, task.Stopping, got.State, "its worker and its users are told so")
	b.report(job, tasks-1, 1, 0, task.OutcomeSucceeded)
	got, known = b.m.Task(job, tasks-1)
	require.True(t, known)
	require.Equal(t, task.Cancelled, got.State)
	require.Equal(t, task.ReasonUser, got.Reason)
	before := record(b, job)
	again := b.must(&logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: job, Reason: uint32(task.ReasonUser), Step: 1}}})
	require.EqualValues(t, before.Counts[task.Pending]+before.Counts[task.Scheduled], again.Cancelled)
	require.Equal(t, before.Sweep+1, record(b, job).Sweep, "a second cancel goes on where the first is")

	b.closeSession(session)
	for b.step() {
		require.Empty(t, b.m.CheckInvariants())
	}
	got, known = b.m.Task(job, tasks-2)
	require.True(t, known)
	require.Equal(t, task.Cancelled, got.State)
	final := record(b, job)
	require.EqualValues(t, tasks, final.Counts[task.Cancelled])
	require.NotZero(t, final.FinishedNs)
	require.Zero(t, final.Sweep)
	require.ErrorIs(t, b.apply(cancelJobOp(job))[0].Err, task.ErrConflict)
}

// If a sweep has reached the end of a job while workers still hold tasks, another cancel does not sweep the job
// again.
func TestASecondCancelSweepsNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job, _ := halfWorked(b, &task.Spec{}, 900)
	b.must(cancelJobOp(job))
	b.m.Flushed(b.m.TakeBatch())
	r := b.must(cancelJobOp(job))
	require.Zero(t, r.Cancelled)
	require.EqualValues(t, 300, r.Stopping)
	require.Empty(t, b.m.TakeBatch().Jobs, "it was not touched")
}
