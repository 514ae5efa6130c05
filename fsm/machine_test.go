package fsm_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// TestAnEndedJobIsFinalForTheRestOfItsEntry: what a batch was cut into must not change
// any answer.
func TestAnEndedJobIsFinalForTheRestOfItsEntry(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h", Expire: time.Second}, 1)
	b.plan(job, 0, 1, s)
	b.clock += int64(time.Hour)
	results := b.apply(
		reportOp(job, 0, 1, 0, task.OutcomeSucceeded), cancelJobOp(job), cancelOp(job, 0),
		&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}}}},
	)
	require.NoError(t, results[0].Err)
	require.ErrorIs(t, results[1].Err, task.ErrConflict)
	require.ErrorIs(t, results[2].Err, task.ErrConflict)
	rec, ok := b.m.Job(job)
	require.True(t, ok)
	require.Zero(t, rec.CancelReason, "a job that has succeeded is marked as cancelled")
	require.NotZero(t, rec.ExpireAtNs)
}

// TestAFinishedJobIsCollectedWhereverItIs: that of the leader may be on disk while
// that of a follower is not.
func TestAFinishedJobIsCollectedWhereverItIs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.must(cancelJobOp(job))
	b.clock += int64(task.RetainOther)
	r := b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
	require.EqualValues(t, 1, r.Total)
	_, ok := b.m.Job(job)
	require.False(t, ok)
	require.True(t, b.m.Collected(job))
	c := b.m.Cut()
	require.Zero(t, c.Meta.JobsSum, "it has a share in the digest still")
	require.Equal(t, []uint64{job}, c.Deleted)
	b.m.Flushed(c)
	require.False(t, b.m.Collected(job))
	require.Empty(t, b.m.CheckInvariants())
}

func TestAJobCollectedWhileItIsWrittenIsForgottenOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	spec := &task.Spec{Handler: "h", Retention: time.Second}
	job, other := b.submit(spec, 1), b.submit(spec, 1)
	b.must(cancelJobOp(job))
	c := b.m.Cut()
	b.clock += int64(time.Second)
	b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
	b.m.Flushed(c)
	require.Empty(t, b.m.CheckInvariants())
	s := b.openSession("w", 1)
	require.EqualValues(t, 1, b.plan(other, 0, 1, s).Granted)
}

// TestAJobWhoseMakerIsThereIsNotAbandoned though it has got no tasks for long.
func TestAJobWhoseMakerIsThereIsNotAbandoned(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true})).Job
	expire := &logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}}}}
	nothing := &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job}}}
	open := func() bool {
		rec, ok := b.m.Job(job)
		return ok && rec.Open
	}
	for range 3 {
		b.clock += int64(task.OpenTimeout) - 1
		require.Zero(t, b.must(nothing).Total)
		b.must(expire)
		require.True(t, open())
	}
	b.clock += int64(task.OpenTimeout)
	b.must(expire)
	require.False(t, open())
	require.ErrorIs(t, b.apply(nothing)[0].Err, task.ErrConflict)
}

// TestARepeatedCloseIsAnsweredAlike also when the job has ended meanwhile.
func TestARepeatedCloseIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{jobs: map[uint64]*logpb.JobRecord{}}
	b.m = fsm.New(history, nil)
	s := b.openSession("w", 1)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true})).Job
	appendOp := &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, Tasks: packed(1)}}}
	closeOp := &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: job, Total: 1}}}
	b.must(appendOp)
	b.must(closeOp)
	b.plan(job, 0, 1, s)
	b.report(job, 0, 1, 0, task.OutcomeSucceeded)
	require.True(t, b.must(closeOp).Existed, "it is in memory")
	require.True(t, b.must(appendOp).Existed)
	c := b.m.Cut()
	history.jobs[job], history.appends = c.Jobs[0].Record, c.Jobs[0].Appends
	b.m.Flushed(c)
	_, inMemory := b.m.Job(job)
	require.False(t, inMemory)
	require.True(t, b.must(closeOp).Existed, "it has left memory")
	require.True(t, b.must(appendOp).Existed)
	other := proto.CloneOf(appendOp)
	other.GetAppendTasks().FirstIndex = 1
	require.ErrorIs(t, b.apply(other)[0].Err, task.ErrConflict, "it is closed")
}

// fakeHistory has the records of finished jobs, marks of appends and outcomes of all tasks below 1000, under
// tokens that are 100 more than their indexes.
type fakeHistory struct {
	nothing
	jobs    map[uint64]*logpb.JobRecord
	appends []*logpb.AppendMark
	// asked counts how often it was asked for tokens, and of how many tasks.
	asked, tasks int
}

func (h *fakeHistory) Tokens(_ uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	h.asked++
	for _, r := range tasks {
		for i := r.First; i < r.First+r.Count; i++ {
			h.tasks++
			f(task.Range{First: i, Count: 1}, fsm.LastToken{TokenOffset: 100, Granted: i != 7, Known: i < 1000})
		}
	}
}

func (h *fakeHistory) Append(_ uint64, first uint32) (*logpb.AppendMark, bool) {
	i := slices.IndexFunc(h.appends, func(a *logpb.AppendMark) bool { return a.First == first })
	if i < 0 {
		return nil, false
	}
	return h.appends[i], true
}

func (h *fakeHistory) Job(id uint64) (*logpb.JobRecord, bool) { return h.jobs[id], h.jobs[id] != nil }

// Workers that come back report thousands of tasks late. The disk is asked for all that
// one group has of them at once: a read for each kept Apply busy for seconds.
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

// TestTheClockIsNeverZeroNorBeyondItsEnd: zero stands for "not yet", and a deadline
// that overflows would lie in the past.
func TestTheClockIsNeverZeroNorBeyondItsEnd(t *testing.T) {
	t.Parallel()
	for _, clock := range []int64{math.MinInt64, -1, 0, math.MaxInt64} {
		b := newBundle(t)
		b.clock = clock
		job := b.must(submitOp(t, &task.Spec{Handler: "h", Expire: task.MaxDelay}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}, Key: "k"})).Job
		r := b.must(&logpb.Op{Op: &logpb.Op_Expire{Expire: &logpb.Expire{Jobs: []uint64{job}}}})
		require.Zero(t, r.Cancelled, "it has expired at once")
		b.must(cancelJobOp(job))
		rec, _ := b.m.Job(job)
		require.NotZero(t, rec.FinishedNs)
		require.ErrorIs(t, b.apply(cancelJobOp(job))[0].Err, task.ErrConflict)
		r = b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}, Keys: []*logpb.KeyRef{{Queue: task.DefaultQueue, Key: "k"}}}}})
		require.Zero(t, r.Total, "it is collected at once")
	}
}

// TestAttemptsStandStillAtTheirHighest: a task that is handed back 65,535 times has a
// number still.
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

// TestACancelledJobLeavesNoTimer: its start may have lain years ahead.
func TestACancelledJobLeavesNoTimer(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", Delay: task.MaxDelay, Expire: time.Hour}, 2)
	_, next := b.m.Due(b.clock, 1)
	require.NotZero(t, next)
	b.must(cancelJobOp(job))
	_, next = b.m.Due(b.clock, 1)
	require.Zero(t, next)
}

func TestAViewShowsSessionsInOrder(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for _, w := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		b.openSession(w, 1)
	}
	for range 20 {
		for i, s := range b.view(roomy).Sessions {
			require.EqualValues(t, i+1, s.ID)
		}
	}
}

// Only tasks without payloads to speak of are light.
func TestAViewTellsLightTasksFromOthers(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.openSession("w", 1)
	array := b.submit(&task.Spec{Handler: "h"}, 2)
	shared := b.submit(&task.Spec{Handler: "h", SharedPayload: make([]byte, 2000)}, 2)
	own := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(2)})).Job
	light := map[uint64]bool{}
	for _, q := range b.view(roomy).Queues {
		for _, j := range q.Jobs {
			light[j.ID] = j.Light
		}
	}
	require.Equal(t, map[uint64]bool{array: true, shared: false, own: false}, light)
}

// TestDigestsDifferWhereStatesDo: two machines that differ in one fact tell by it.
func TestDigestsDifferWhereStatesDo(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	for name, change := range map[string]func(b *testBundle, job, s uint64){
		"nothing":              func(*testBundle, uint64, uint64) {},
		"a task is granted":    func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s) },
		"another is":           func(b *testBundle, job, s uint64) { b.must(cancelOp(job, 0)); b.plan(job, 1, 1, s) },
		"a task is cancelled":  func(b *testBundle, job, _ uint64) { b.must(cancelOp(job, 0)) },
		"another is cancelled": func(b *testBundle, job, _ uint64) { b.must(cancelOp(job, 1)) },
		"a page is cancelled":  func(b *testBundle, job, _ uint64) { b.must(cancelJobOp(job)) },
		"a task has failed":    func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.report(job, 0, 1, 0, task.OutcomeFailed) },
		"a task has succeeded": func(b *testBundle, job, s uint64) {
			b.plan(job, 0, 1, s)
			b.report(job, 0, 1, 0, task.OutcomeSucceeded)
		},
		"a task was returned":  func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.report(job, 0, 1, 0, task.OutcomeReturned) },
		"a task is stopping":   func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.must(cancelOp(job, 0)) },
		"a worker was lost":    func(b *testBundle, job, s uint64) { b.plan(job, 0, 1, s); b.closeSession(s) },
		"a session was closed": func(b *testBundle, _, s uint64) { b.closeSession(s) },
		"another job":          func(b *testBundle, _, _ uint64) { b.submit(&task.Spec{Handler: "h"}, 1) },
		"another job of two":   func(b *testBundle, _, _ uint64) { b.submit(&task.Spec{Handler: "h"}, 2) },
		"another job, named":   func(b *testBundle, _, _ uint64) { b.submit(&task.Spec{Handler: "h", Name: "n"}, 1) },
		"another job with key": func(b *testBundle, _, _ uint64) {
			b.must(submitOp(b.t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(1), Key: "k"}))
		},
		"another job, open": func(b *testBundle, _, _ uint64) {
			b.must(submitOp(b.t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(1), Open: true}))
		},
		"a later clock": func(b *testBundle, _, _ uint64) { b.clock++; b.apply() },
		"the id of the cluster": func(b *testBundle, _, _ uint64) {
			b.must(&logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: "c"}}})
		},
	} {
		b := newBundle(t)
		change(b, b.submit(&task.Spec{Handler: "h"}, 300), b.openSession("w", 2))
		_, digest := b.m.Digest()
		require.Empty(t, seen[digest], "%s looks like %s", name, seen[digest])
		seen[digest] = name
		b.must(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: 9}}})
		index, at, ok := b.m.DigestAt(9)
		require.True(t, ok)
		require.Equal(t, digest, at)
		require.Equal(t, b.index, index)
	}
}

func TestDigestsOfCheckpointsAreForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for id := range uint64(20) {
		b.must(&logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: id}}})
	}
	_, _, ok := b.m.DigestAt(3)
	require.False(t, ok)
	_, _, ok = b.m.DigestAt(19)
	require.True(t, ok)
}

func TestWatchersOfAJobAreWokenByItsChanges(t *testing.T) {
	t.Parallel()
	watchers := fsm.NewWatchers()
	b := newBundle(t)
	b.m = fsm.New(nothing{}, watchers)
	s := b.openSession("w", 1)
	one, two := b.submit(&task.Spec{Handler: "h"}, 1), b.submit(&task.Spec{Handler: "h"}, 1)
	changed, stop := watchers.Watch(one)
	other, stopOther := watchers.Watch(one)
	stopOther()
	b.plan(two, 0, 1, s)
	require.Empty(t, changed)
	b.plan(one, 0, 1, s)
	b.must(cancelJobOp(one))
	require.Len(t, changed, 1, "changes that come while one waits are one")
	require.Empty(t, other)
	<-changed
	watchers.WakeAll()
	require.Len(t, changed, 1)
	stop()
}

func TestAHelloIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	hello := func(nonce string, replaces uint64, proof string) fsm.Result {
		return b.apply(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{
			Session: &logpb.Session{Worker: "w", Slots: 1, Nonce: []byte(nonce)}, Replaces: replaces, ReplacesNonce: []byte(proof),
		}}})[0]
	}
	first := hello("a", 0, "")
	require.NoError(t, first.Err)
	again := hello("a", 0, "")
	require.True(t, again.Existed)
	require.Equal(t, first.Session, again.Session)
	require.ErrorIs(t, hello("b", 0, "").Err, task.ErrConflict, "a second live process of the same worker")
	for _, proof := range []string{"", "b", "A"} {
		require.ErrorIs(t, hello("b", first.Session, proof).Err, task.ErrConflict, "ids count up: anybody can name one")
	}
	replaced := hello("b", first.Session, "a")
	require.NoError(t, replaced.Err)
	require.NotEqual(t, first.Session, replaced.Session)
	_, open := b.m.Session(first.Session)
	require.False(t, open)
}

func TestAnEntryFollowsTheOneThatWasApplied(t *testing.T) {
	t.Parallel()
	m := fsm.New(nil, nil)
	require.NoError(t, m.CheckFollows(1, fsm.Place{}))
	require.ErrorIs(t, m.CheckFollows(5, fsm.Place{Index: 4, Term: 2}), fsm.ErrGap)
	m.ApplyConfiguration(7, 3, nil)
	require.NoError(t, m.CheckFollows(9, fsm.Place{Index: 7, Term: 3}), "what lies between is none of the state machine's")
	require.NoError(t, m.CheckFollows(7, fsm.Place{Index: 4, Term: 2}), "it was applied already")
	for _, prev := range []fsm.Place{{}, {Index: 6, Term: 3}, {Index: 8, Term: 3}, {Index: 7, Term: 2}, {Index: 7, Term: 4}} {
		require.ErrorIs(t, m.CheckFollows(9, prev), fsm.ErrGap)
	}
}

func TestApplySkipsWhatItHas(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	op := submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(1)})
	b.must(op)
	data, err := fsm.EncodeEntry(fsm.GateVersion, b.clock, []*logpb.Op{proto.CloneOf(op)})
	require.NoError(t, err)
	for _, index := range []uint64{0, b.index} {
		results, err := b.m.Apply(index, 1, data)
		require.NoError(t, err)
		require.Nil(t, results)
	}
	require.Equal(t, 1, b.m.Stats().Jobs)
	b.m.ApplyConfiguration(b.index+5, 2, []byte("c"))
	b.m.ApplyConfiguration(b.index+1, 1, []byte("old"))
	require.Equal(t, "c", string(b.m.Cut().Meta.Configuration))
	require.Equal(t, b.index+5, b.m.AppliedIndex())
}

// However many tasks are due at once, Advance looks at so many of them and says that there are more.
func TestAdvanceLooksAtSoManyTimersAtOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const tasks, most = 10_000, 4096
	w := b.openSession("w", task.MaxSlots)
	job := b.submit(&task.Spec{Handler: "h"}, tasks)
	b.plan(job, 0, tasks, w)
	b.must(failedOp(w, job, 0, tasks))
	b.clock += int64(task.BackoffMax)
	views := 1
	for ; ; views++ {
		v, behind := b.m.AdvanceAndView(b.clock, 0, roomy)
		require.LessOrEqual(t, v.Queues[0].Jobs[0].Budget, uint32(views*most))
		if !behind {
			break
		}
	}
	require.Equal(t, (tasks+most-1)/most, views)
}
