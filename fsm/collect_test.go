package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func collectOp(jobs ...uint64) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: jobs}}}
}

func collectKeyOp(queue, key string) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Keys: []*logpb.KeyRef{{Queue: queue, Key: key}}}}}
}

// overBudget makes op a collect for lack of room on the leader's disk.
func overBudget(op *logpb.Op) *logpb.Op {
	op.GetCollect().OverBudget = true
	return op
}

// The leader names jobs. Whether their time is over is decided where the entry is applied.
func TestOnlyJobsWhoseTimeIsOverAreCollected(t *testing.T) {
	t.Parallel()
	const live, ended = 1, 2
	for name, c := range map[string]struct {
		op        *logpb.Op
		after     time.Duration
		collected uint32
	}{
		"too early":                {collectOp(ended), time.Hour - 1, 0},
		"in time":                  {collectOp(ended), time.Hour, 1},
		"named twice":              {collectOp(ended, ended), time.Hour, 1},
		"for lack of room":         {overBudget(collectOp(ended)), 0, 1},
		"has not ended":            {collectOp(live), task.MaxDelay, 0},
		"has not ended, no room":   {overBudget(collectOp(live)), task.MaxDelay, 0},
		"no such job":              {collectOp(99), task.MaxDelay, 0},
		"the others are collected": {collectOp(99, live, ended), time.Hour, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			spec := &task.Spec{Handler: "h", Retention: time.Hour}
			require.EqualValues(t, live, b.submit(spec, 1))
			require.EqualValues(t, ended, b.submit(spec, 1))
			b.must(cancelJobOp(ended))
			b.clock += int64(c.after)
			b.apply()
			_, before := b.m.Digest()
			require.Equal(t, c.collected, b.must(c.op).Total)
			_, behind := b.m.Digest()
			require.Equal(t, c.collected == 0, before == behind)
			require.Equal(t, c.collected == 1, b.m.Collected(ended))
			require.False(t, b.m.Collected(live))
			_, inMemory := b.m.Job(live)
			require.True(t, inMemory)
			require.Empty(t, b.m.CheckInvariants())
		})
	}
}

// How ops are put together in entries must not change what they do.
func TestAJobIsCollectedInTheEntryThatEndsIt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h"}, 1)
	b.plan(job, 0, 1, b.openSession("w", 1))
	results := b.apply(reportOp(job, 0, 1, 0, task.OutcomeSucceeded), overBudget(collectOp(job)))
	require.EqualValues(t, 1, results[1].Total)
	require.Empty(t, b.m.CheckInvariants())
}

// A server that has flushed the end of a job collects it from its disk, once.
func TestAJobOnDiskIsCollectedOnce(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	history := &fakeHistory{}
	b.m = fsm.New(history, nil)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.must(cancelJobOp(job))
	c := b.m.TakeBatch()
	history.jobs = map[uint64]*logpb.JobRecord{job: c.Jobs[0].Record}
	b.m.Flushed(c)
	_, inMemory := b.m.Job(job)
	require.False(t, inMemory)
	require.Zero(t, b.must(collectOp(job)).Total, "too early")
	b.clock += int64(task.RetainOther)
	require.EqualValues(t, 1, b.must(collectOp(job)).Total)
	require.Zero(t, b.must(collectOp(job)).Total, "the disk still has it")
	c = b.m.TakeBatch()
	require.Zero(t, c.Meta.JobsSum)
	require.Equal(t, []uint64{job}, c.Deleted)
}

// A request key lives until its job has ended, and for a while after that, in memory or on disk.
func TestARequestKeyIsCollectedWhenItExpires(t *testing.T) {
	t.Parallel()
	for _, onDisk := range []bool{false, true} {
		b := newBundle(t)
		history := &fakeHistory{}
		b.m = fsm.New(history, nil)
		submit := submitOp(t, &task.Spec{Handler: "h", Queue: "q"}, &logpb.Submit{Tasks: packed(1), Key: "k"})
		job := b.must(submit).Job
		b.clock += int64(task.MaxDelay)
		require.Zero(t, b.must(collectKeyOp("q", "k")).Total, "its job has not ended")
		b.must(cancelJobOp(job))
		if onDisk {
			c := b.m.TakeBatch()
			history.keys = map[string]*logpb.KeyRecord{"q/k": c.Keys[0].Record}
			b.m.Flushed(c)
		}
		b.clock += int64(task.KeyRetention) - 1
		require.Zero(t, b.must(collectKeyOp("q", "k")).Total, "too early")
		b.clock++
		require.Zero(t, b.must(collectKeyOp("other", "k")).Total, "keys are of a queue")
		require.EqualValues(t, 1, b.must(collectKeyOp("q", "k")).Total)
		require.Zero(t, b.must(collectKeyOp("q", "k")).Total, "once")
		require.True(t, b.m.KeyCollected("q", "k"))
		require.Zero(t, b.m.TakeBatch().Meta.KeysSum, "it is still part of the digest")
		require.False(t, b.must(submit).Existed, "the key can be used again")
		require.Empty(t, b.m.CheckInvariants())
	}
}

// Older records do not say when. Then it follows from what the job asked for, or else from how the job ended.
func TestWhenAFinishedJobMayBeForgotten(t *testing.T) {
	t.Parallel()
	asks, err := fsm.EncodeSpec(&task.Spec{Handler: "h", Retention: time.Hour})
	require.NoError(t, err)
	plain, err := fsm.EncodeSpec(&task.Spec{Handler: "h"})
	require.NoError(t, err)
	const finished = 1000
	for name, c := range map[string]struct {
		rec  *logpb.JobRecord
		want int64
	}{
		"noted":                         {&logpb.JobRecord{Spec: asks, DueNs: 7}, 7},
		"asked":                         {&logpb.JobRecord{Spec: asks}, finished + int64(time.Hour)},
		"asked by a spec that is apart": {&logpb.JobRecord{SpecId: []byte("id"), RetentionNs: 5}, finished + 5},
		"apart, did not ask":            {&logpb.JobRecord{SpecId: []byte("id")}, finished + int64(task.RetainOther)},
		"has succeeded":                 {&logpb.JobRecord{Spec: plain, Total: 2}, finished + int64(task.RetainSucceeded)},
		"has not":                       {&logpb.JobRecord{Spec: plain, Total: 3}, finished + int64(task.RetainOther)},
		"a spec that cannot be read":    {&logpb.JobRecord{Spec: []byte("\xff"), Total: 2}, finished + int64(task.RetainSucceeded)},
	} {
		c.rec.FinishedNs, c.rec.Counts = finished, make([]uint32, task.NumStates)
		if c.rec.Total > 0 {
			c.rec.Counts[task.Succeeded] = 2
		} else {
			c.rec.Total = 1
		}
		require.Equal(t, c.want, fsm.Due(c.rec), name)
	}
}

// TestAFinishedJobIsCollectedWhereverItIs: the leader may have the job on disk while a follower has it in memory
// only.
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
	c := b.m.TakeBatch()
	require.Zero(t, c.Meta.JobsSum, "it is still part of the digest")
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
	c := b.m.TakeBatch()
	b.clock += int64(time.Second)
	b.must(&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{Jobs: []uint64{job}}}})
	b.m.Flushed(c)
	require.Empty(t, b.m.CheckInvariants())
	s := b.openSession("w", 1)
	require.EqualValues(t, 1, b.plan(other, 0, 1, s).Granted)
}

// The time when a finished job may be forgotten is set at its end: the rules may have changed when that time comes.
func TestWhenAJobMayBeForgottenIsNotedAtItsEnd(t *testing.T) {
	t.Parallel()
	for _, version := range []uint32{2, fsm.GateVersion} {
		b := newBundle(t)
		b.applyAs(version, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
			Worker: "w", Nonce: []byte("w"), Slots: 9, Handlers: []string{"h"},
		}}}})
		kept := submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}})
		asked := submitOp(t, &task.Spec{Handler: "h", Retention: time.Hour}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}})
		for job, keep := range map[uint64]time.Duration{b.applyAs(version, kept).Job: task.RetainSucceeded, b.applyAs(version, asked).Job: time.Hour} {
			b.applyAs(version, planOp(job, 0, 1, 1))
			held, _ := b.m.Task(job, 0)
			b.applyAs(version, reportOp(job, 0, 1, int64(held.Token)-1, task.OutcomeSucceeded))
			rec, ok := b.m.Job(job)
			require.True(t, ok)
			require.Equal(t, rec.FinishedNs+int64(keep), fsm.Due(rec))
			require.Equal(t, version >= fsm.GateVersion, rec.DueNs != 0)
		}
	}
}
