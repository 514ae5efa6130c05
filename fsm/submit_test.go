package fsm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func appendOp(job uint64, first uint32, tasks *logpb.Tasks) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: job, FirstIndex: first, Tasks: tasks}}}
}

func closeOp(job uint64, total uint32) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: job, Total: total}}}
}

// open submits a job that grows, with some tasks.
func (b *testBundle) open(tasks *logpb.Tasks) uint64 {
	b.t.Helper()
	return b.must(submitOp(b.t, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true, Tasks: tasks})).Job
}

// refused applies an op that must have no effect: not on the job, if there is one, and not on the digest.
func (b *testBundle) refused(op *logpb.Op, want error, says string) {
	b.t.Helper()
	b.apply()
	_, before := b.m.Digest()
	r := b.apply(op)[0]
	require.ErrorIs(b.t, r.Err, want)
	require.ErrorContains(b.t, r.Err, says)
	_, behind := b.m.Digest()
	require.Equal(b.t, before, behind, "it was refused and has changed the state")
	require.Empty(b.t, b.m.CheckInvariants())
}

func TestAJobBeginsAsItsSpecSays(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for name, c := range map[string]struct {
		spec      task.Spec
		submit    *logpb.Submit
		state     task.State
		notBefore int64
		expireAt  int64
	}{
		"at once":          {submit: &logpb.Submit{Tasks: packed(3)}, state: task.Pending},
		"a retry":          {submit: &logpb.Submit{Tasks: packed(3), RetryOf: 7}, state: task.Pending},
		"after a delay":    {spec: task.Spec{Delay: time.Hour}, state: task.Scheduled, notBefore: b.clock + int64(time.Hour)},
		"at a time":        {spec: task.Spec{NotBefore: b.clock + 5}, state: task.Scheduled, notBefore: b.clock + 5},
		"at a time past":   {spec: task.Spec{NotBefore: b.clock - 5}, state: task.Pending},
		"until a time":     {spec: task.Spec{Expire: time.Minute}, state: task.Pending, expireAt: b.clock + int64(time.Minute)},
		"open":             {submit: &logpb.Submit{Open: true}, state: task.Pending},
		"held until all":   {submit: &logpb.Submit{Open: true, Hold: true}, state: task.Pending},
		"not open, hold":   {submit: &logpb.Submit{Hold: true}, state: task.Pending},
		"a request key":    {submit: &logpb.Submit{Key: "k", Hash: []byte("h")}, state: task.Pending},
		"large":            {submit: &logpb.Submit{Tasks: &logpb.Tasks{Count: task.MaxTasks}}, state: task.Pending},
		"with its payload": {spec: task.Spec{SharedPayload: []byte("p")}, state: task.Pending},
	} {
		c.spec.Handler = "h"
		if c.submit == nil {
			c.submit = &logpb.Submit{}
		}
		if c.submit.Tasks == nil {
			c.submit.Tasks = &logpb.Tasks{Count: 2}
		}
		r := b.must(submitOp(t, &c.spec, c.submit))
		rec, ok := b.m.Job(r.Job)
		require.True(t, ok, name)
		count := c.submit.Tasks.Count
		require.Equal(t, count, r.Total, name)
		require.False(t, r.Existed, name)
		require.Equal(t, count, rec.Total, name)
		require.Equal(t, count, rec.Counts[c.state], name)
		require.Equal(t, c.notBefore, rec.NotBeforeNs, name)
		require.Equal(t, c.expireAt, rec.ExpireAtNs, name)
		require.Equal(t, b.clock, rec.SubmittedNs, name)
		require.Equal(t, c.submit.Open, rec.Open, name)
		require.Equal(t, c.submit.Open && c.submit.Hold, rec.Hold, name)
		require.Equal(t, c.submit.RetryOf, rec.RetryOf, name)
		require.Equal(t, c.submit.Key, rec.Key, name)
		require.Equal(t, len(c.submit.Tasks.Packed) > 0, rec.OwnPayloads, name)
	}
	require.Empty(t, b.m.CheckInvariants())
}

func TestASubmitMayAssignItsTasks(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 2)
	assign := []*logpb.Assign{{First: 0, Count: 2, Session: s}, {First: 2, Count: 1, Session: s + 1}}
	r := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(3), Assign: assign}))
	require.EqualValues(t, 2, r.Granted, "there is no other session")
	rec, _ := b.m.Job(r.Job)
	require.EqualValues(t, 2, rec.Counts[task.Assigned])
	// No task of a delayed job is granted, but the job is there.
	r = b.must(submitOp(t, &task.Spec{Handler: "h", Delay: time.Second}, &logpb.Submit{Tasks: packed(3), Assign: assign}))
	require.Zero(t, r.Granted)
	require.EqualValues(t, 3, r.Total)
}

func TestASubmitThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	h, two := &task.Spec{Handler: "h"}, &logpb.Tasks{Count: 2}
	large := &logpb.Tasks{Count: 1, Packed: task.PackAppend(nil, make([]byte, task.MaxPayload+1))}
	malformed := submitOp(t, h, &logpb.Submit{Tasks: two})
	malformed.GetSubmit().Spec = []byte("\xff")
	for name, c := range map[string]struct {
		op   *logpb.Op
		want error
		says string
	}{
		"no tasks":           {submitOp(t, h, &logpb.Submit{}), task.ErrInvalid, "at least one task"},
		"too many tasks":     {submitOp(t, h, &logpb.Submit{Tasks: &logpb.Tasks{Count: task.MaxTasks + 1}}), task.ErrTooLarge, "split it"},
		"a large payload":    {submitOp(t, h, &logpb.Submit{Tasks: large}), task.ErrTooLarge, "payload of task 0"},
		"missing payloads":   {submitOp(t, h, &logpb.Submit{Tasks: &logpb.Tasks{Count: 4, Packed: packed(3).Packed}}), task.ErrInvalid, "cut short"},
		"payloads left over": {submitOp(t, h, &logpb.Submit{Tasks: &logpb.Tasks{Count: 2, Packed: packed(3).Packed}}), task.ErrInvalid, "left over"},
		"no work":            {submitOp(t, &task.Spec{}, &logpb.Submit{Tasks: two}), task.ErrInvalid, "handler"},
		"a bad priority":     {submitOp(t, &task.Spec{Handler: "h", Priority: task.MaxPriority + 1}, &logpb.Submit{Tasks: two}), task.ErrInvalid, "priority"},
		"a malformed spec":   {malformed, task.ErrInvalid, "malformed spec"},
		"a long key":         {submitOp(t, h, &logpb.Submit{Tasks: two, Key: strings.Repeat("k", task.MaxRequestKey+1)}), task.ErrTooLarge, "request key"},
		"too large a plan": {
			submitOp(t, h, &logpb.Submit{Tasks: two, Assign: []*logpb.Assign{{Count: fsm.MaxPlanned, Session: 1}, {Count: 1, Session: 1}}}), task.ErrInvalid, "the plan",
		},
	} {
		t.Log(name)
		b.refused(c.op, c.want, c.says)
	}
	require.Equal(t, fsm.Stats{AppliedIndex: b.index}, b.m.Stats(), "what was refused has left something behind")
	require.EqualValues(t, 1, b.submit(h, 1), "and has used up an id")
}

// A submit whose answer was lost is sent again, maybe long after.
func TestARequestKeyMakesOneJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{}
	b.m = fsm.New(history, nil)
	submit := func(queue, key, hash string) *logpb.Op {
		return submitOp(t, &task.Spec{Handler: "h", Queue: queue}, &logpb.Submit{Tasks: packed(1), Key: key, Hash: []byte(hash)})
	}
	first := b.must(submit("q", "k", "a"))
	require.False(t, first.Existed)
	same := func(when string) {
		r := b.must(submit("q", "k", "a"))
		require.True(t, r.Existed, when)
		require.Equal(t, first.Job, r.Job, when)
		r = b.apply(submit("q", "k", "b"))[0]
		require.ErrorIs(t, r.Err, task.ErrConflict, when)
		require.ErrorContains(t, r.Err, `request key "k" in queue "q" was used for job 1`, when)
		require.Equal(t, first.Job, r.Job, "the caller is told which job it is")
		require.Equal(t, 1, b.m.Stats().Classes, "the spec that was there already is kept")
		require.Empty(t, b.m.CheckInvariants(), when)
	}
	same("while it waits")
	b.must(cancelJobOp(first.Job))
	same("when it has ended")
	c := b.m.TakeBatch()
	history.jobs = map[uint64]*logpb.JobRecord{first.Job: c.Jobs[0].Record}
	history.keys = map[string]*logpb.KeyRecord{"q/k": c.Keys[0].Record}
	b.m.Flushed(c)
	require.Zero(t, b.m.Stats().Jobs)
	r := b.must(submit("q", "k", "a"))
	require.True(t, r.Existed, "it has left memory")
	require.ErrorIs(t, b.apply(submit("q", "k", "b"))[0].Err, task.ErrConflict)

	// Keys are of a queue. Of two submits in one entry the second finds the first.
	results := b.apply(submit("other", "k", "a"), submit("other", "k", "a"), submit("q", "k2", "a"))
	require.EqualValues(t, 2, results[0].Job)
	require.True(t, results[1].Existed)
	require.EqualValues(t, 2, results[1].Job)
	require.EqualValues(t, 3, results[2].Job)
	require.Empty(t, b.m.CheckInvariants())
}

func TestAnOpenJobGrowsUntilItIsClosed(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 300)
	job := b.open(nil)
	require.EqualValues(t, 300, b.must(appendOp(job, 0, packed(300))).Total)
	require.EqualValues(t, 300, b.plan(job, 0, 300, s).Granted)
	b.report(job, 0, 300, 0, task.OutcomeSucceeded)
	rec, _ := b.m.Job(job)
	require.Zero(t, rec.FinishedNs, "all its tasks have ended, and it may get more")
	b.clock++
	require.EqualValues(t, 302, b.must(appendOp(job, 300, packed(2))).Total)
	rec, _ = b.m.Job(job)
	require.Equal(t, b.clock, rec.LastAppendNs)
	require.EqualValues(t, 302, b.must(closeOp(job, 302)).Total)
	require.EqualValues(t, 2, b.plan(job, 300, 2, s).Granted)
	b.report(job, 300, 2, 0, task.OutcomeSucceeded)
	rec, _ = b.m.Job(job)
	require.Equal(t, b.clock, rec.FinishedNs)
	require.Empty(t, b.m.CheckInvariants())
}

// Tasks of a job that is held are granted once it is closed.
func TestAHeldJobRunsWhenItIsClosed(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 2)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true, Hold: true, Tasks: packed(1)})).Job
	require.Zero(t, b.plan(job, 0, 1, s).Granted)
	b.must(closeOp(job, 1))
	require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
}

func TestAnAppendThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	own, plain, empty := b.open(packed(2)), b.open(&logpb.Tasks{Count: 2}), b.open(nil)
	closed, cancelled := b.submit(&task.Spec{Handler: "h"}, 2), b.open(packed(1))
	b.must(cancelJobOp(cancelled))
	for name, c := range map[string]struct {
		op   *logpb.Op
		want error
		says string
	}{
		"no such job":          {appendOp(99, 0, packed(1)), task.ErrNotFound, "no job 99"},
		"a gap":                {appendOp(own, 3, packed(1)), task.ErrInvalid, "gap"},
		"other tasks":          {appendOp(own, 0, packed(1)), task.ErrConflict, "has other tasks at index 0"},
		"without payloads":     {appendOp(own, 2, &logpb.Tasks{Count: 1}), task.ErrConflict, "payloads of their own"},
		"with payloads":        {appendOp(plain, 2, packed(1)), task.ErrConflict, "payloads of their own"},
		"malformed payloads":   {appendOp(empty, 0, &logpb.Tasks{Count: 2, Packed: packed(1).Packed}), task.ErrInvalid, "cut short"},
		"too many":             {appendOp(plain, 2, &logpb.Tasks{Count: task.MaxTasks - 1}), task.ErrTooLarge, "split it"},
		"too many to add up":   {appendOp(plain, 2, &logpb.Tasks{Count: 1<<32 - 1}), task.ErrTooLarge, "split it"},
		"to a closed job":      {appendOp(closed, 2, &logpb.Tasks{Count: 1}), task.ErrConflict, "closed"},
		"to a cancelled job":   {appendOp(cancelled, 1, packed(1)), task.ErrConflict, "was cancelled"},
		"close what is not":    {closeOp(99, 0), task.ErrNotFound, "no job 99"},
		"close with too few":   {closeOp(own, 1), task.ErrConflict, "has 2 tasks, not 1"},
		"close with too many":  {closeOp(own, 3), task.ErrConflict, "append the missing ones"},
		"close without tasks":  {closeOp(empty, 0), task.ErrInvalid, "no tasks"},
		"close what was ended": {closeOp(cancelled, 1), task.ErrConflict, "was cancelled"},
	} {
		t.Log(name)
		b.refused(c.op, c.want, c.says)
	}
	require.EqualValues(t, task.MaxTasks, b.must(appendOp(plain, 2, &logpb.Tasks{Count: task.MaxTasks - 2})).Total, "as many as fit")
}

// A repeated append is recognized by where it begins and by its tasks.
func TestARepeatedAppendIsAnsweredAlike(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{}
	b.m = fsm.New(history, nil)
	job := b.open(nil)
	for first := uint32(0); first < 6; first += 2 {
		require.False(t, b.must(appendOp(job, first, packed(2))).Existed)
	}
	again := func(when string) {
		for first := uint32(0); first < 6; first += 2 {
			r := b.must(appendOp(job, first, packed(2)))
			require.True(t, r.Existed, when)
			require.EqualValues(t, 6, r.Total, when)
		}
		changed := packed(2)
		changed.Packed[len(changed.Packed)-1]++
		for _, other := range []*logpb.Op{appendOp(job, 2, packed(1)), appendOp(job, 2, packed(4)), appendOp(job, 1, packed(2)), appendOp(job, 2, changed)} {
			b.refused(other, task.ErrConflict, "has other tasks at index")
		}
	}
	again("in memory")
	c := b.m.TakeBatch()
	history.appends = c.Jobs[0].Appends
	b.m.Flushed(c)
	again("on disk")
}

// TestAJobWhoseMakerIsThereIsNotAbandoned, even if it has got no tasks for a long time.
func TestAJobWhoseMakerIsThereIsNotAbandoned(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Open: true})).Job
	expire, nothing := expireOp(job), appendOp(job, 0, nil)
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
	appending, closing := appendOp(job, 0, packed(1)), closeOp(job, 1)
	b.must(appending)
	b.must(closing)
	b.plan(job, 0, 1, s)
	b.report(job, 0, 1, 0, task.OutcomeSucceeded)
	require.True(t, b.must(closing).Existed, "it is in memory")
	require.True(t, b.must(appending).Existed)
	c := b.m.TakeBatch()
	history.jobs[job], history.appends = c.Jobs[0].Record, c.Jobs[0].Appends
	b.m.Flushed(c)
	_, inMemory := b.m.Job(job)
	require.False(t, inMemory)
	require.True(t, b.must(closing).Existed, "it has left memory")
	require.True(t, b.must(appending).Existed)
	other := proto.CloneOf(appending)
	other.GetAppendTasks().FirstIndex = 1
	require.ErrorIs(t, b.apply(other)[0].Err, task.ErrConflict, "it is closed")
}

// Each job that has not ended is in memory on every server, so their number is bounded.
func TestJobsThatHaveNotEndedAreBounded(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const most = 3
	b.m.SetMostLiveJobs(most)
	one := func(key string) *logpb.Op {
		return submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Key: key, Hash: []byte(key), Tasks: &logpb.Tasks{Count: 1}})
	}
	first := b.must(one("a")).Job
	b.must(one("b"))
	results := b.apply(one("c"), one("d"), one("a"))
	require.NoError(t, results[0].Err)
	require.ErrorIs(t, results[1].Err, task.ErrExhausted)
	require.ErrorContains(t, results[1].Err, "cancel")
	require.NoError(t, results[2].Err, "what was accepted before is answered as before")
	require.Equal(t, first, results[2].Job)
	require.Empty(t, b.m.CheckInvariants())
	// A job that ends makes room, and what was refused has left nothing behind.
	b.must(cancelJobOp(first))
	require.Equal(t, uint64(most+1), b.must(one("d")).Job)
	require.ErrorIs(t, b.apply(one("e"))[0].Err, task.ErrExhausted)
	session := b.openSession("w", 1)
	b.plan(2, 0, 1, session)
	b.report(2, 0, 1, 0, task.OutcomeSucceeded)
	b.must(one("e"))
	require.Empty(t, b.m.CheckInvariants())
}
