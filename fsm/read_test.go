package fsm_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func TestWhatWasAppliedLast(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	require.Zero(t, b.m.AppliedIndex())
	require.Empty(t, b.m.ClusterID())
	b.must(&logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: "c"}}})
	index, term, clock := b.m.Applied()
	require.Equal(t, []uint64{1, 1}, []uint64{index, term})
	require.Equal(t, b.clock, clock)
	require.Equal(t, "c", b.m.ClusterID())
	b.m.ApplyConfiguration(4, 2, []byte("servers"))
	index, term, _ = b.m.Applied()
	require.Equal(t, []uint64{4, 2}, []uint64{index, term})
	require.EqualValues(t, 4, b.m.AppliedIndex())
	configuration, at := b.m.Configuration()
	require.Equal(t, "servers", string(configuration))
	require.EqualValues(t, 4, at)
}

func TestJobsAreListedFromTheNewestOn(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	for i := range 5 {
		b.submit(&task.Spec{Handler: "h", Name: fmt.Sprint(i)}, 1)
	}
	for _, c := range []struct {
		below uint64
		limit int
		want  []uint64
	}{
		{0, 2, []uint64{5, 4}},
		{4, 2, []uint64{3, 2}},
		{2, 9, []uint64{1}},
		{1, 9, nil},
		{99, 9, []uint64{5, 4, 3, 2, 1}},
		{0, 0, nil},
	} {
		var got []uint64
		for _, rec := range b.m.JobsBelow(c.below, c.limit) {
			got = append(got, rec.Id)
			require.NotEmpty(t, rec.Spec)
		}
		require.Equal(t, c.want, got, "%+v", c)
	}
}

func TestTheProgressOfAJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 9)
	job := b.must(submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: packed(2), Open: true})).Job
	check := func(received uint32, final bool) {
		t.Helper()
		gotReceived, gotFinal, ok := b.m.Progress(job)
		require.True(t, ok)
		require.Equal(t, received, gotReceived)
		require.Equal(t, final, gotFinal)
	}
	check(0, false)
	b.plan(job, 0, 2, s)
	b.report(job, 0, 2, 0, task.OutcomeSucceeded)
	check(2, false)
	b.must(appendOp(job, 2, packed(3)))
	marks := b.m.Appends(job)
	require.Len(t, marks, 1)
	require.EqualValues(t, 2, marks[0].First)
	require.EqualValues(t, 3, marks[0].Count)
	b.must(cancelJobOp(job))
	check(5, true)
	b.flush()
	_, _, ok := b.m.Progress(job)
	require.False(t, ok)
	require.Empty(t, b.m.Appends(job))
	_, ok = b.m.Job(job)
	require.False(t, ok)
}

// Memory has all of a small spec, and of a large one what Apply needs.
func TestWhatMemoryKnowsOfASpec(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	cwd := "/" + strings.Repeat("d", fsm.SpecApart)
	values := make([]task.ValueRun, 200)
	for i := range values {
		values[i] = task.ValueRun{First: uint32(i * i), Step: 1, Count: 1}
	}
	for name, c := range map[string]struct {
		spec              *task.Spec
		count             uint32
		whole, manyValues bool
	}{
		"a small one":     {&task.Spec{Command: []string{"true"}, Cwd: "/tmp"}, 1, true, false},
		"a large one":     {&task.Spec{Command: []string{"true"}, Cwd: cwd, Priority: 4}, 1, false, false},
		"with few values": {&task.Spec{Command: []string{"{}"}, Cwd: cwd, Placeholder: "{}", Values: []task.ValueRun{{First: 1, Step: 2, Count: 3}}}, 3, false, false},
		"with many":       {&task.Spec{Command: []string{"{}"}, Cwd: cwd, Placeholder: "{}", Values: values}, 200, false, true},
	} {
		job := b.submit(c.spec, c.count)
		got, ok := b.m.SpecOf(job)
		require.True(t, ok)
		require.Equal(t, c.whole, got.Whole, name)
		require.Equal(t, c.manyValues, got.ManyValues, name)
		require.Equal(t, c.whole, got.Spec.Cwd != "", name)
		require.Equal(t, c.spec.Priority, got.Spec.Priority, name)
		require.False(t, got.OwnPayloads, name)
		raw, err := fsm.EncodeSpec(c.spec)
		require.NoError(t, err)
		require.Equal(t, raw, got.Raw, name)
		b.flush()
		got, _ = b.m.SpecOf(job)
		require.Equal(t, c.whole, got.Raw != nil, "%s: only a small one stays", name)
	}
	_, ok := b.m.SpecOf(99)
	require.False(t, ok)
}

// What is known of a task in each state.
func TestWhatMemoryKnowsOfATask(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job, s := halfway(b, &task.Spec{})
	failed, _ := b.m.Task(job, 2)
	require.Greater(t, failed.NotBefore, b.clock)
	b.must(cancelOp(job, 1))
	later := b.submit(&task.Spec{Handler: "h", Delay: time.Hour}, 1)
	for name, c := range map[string]struct {
		job  uint64
		task uint32
		want fsm.Task
	}{
		"succeeded":        {job, 0, fsm.Task{State: task.Succeeded, Attempt: 1, Token: 1}},
		"asked to stop":    {job, 1, fsm.Task{State: task.Stopping, Reason: task.ReasonUser, Attempt: 1, Token: 2, Worker: "w", Session: s}},
		"tried again":      {job, 2, fsm.Task{State: task.Scheduled, Reason: task.ReasonError, Attempt: 1, Token: 3, NotBefore: failed.NotBefore}},
		"untouched":        {job, 4, fsm.Task{State: task.Pending}},
		"not yet due":      {later, 0, fsm.Task{State: task.Scheduled, NotBefore: b.clock + int64(time.Hour)}},
		"of no such index": {job, 5, fsm.Task{}},
		"of no job":        {99, 0, fsm.Task{}},
	} {
		got, known := b.m.Task(c.job, c.task)
		require.Equal(t, c.want, got, name)
		require.Equal(t, c.want.State != 0, known, name)
	}
	b.must(cancelOp(job, 4))
	_, known := b.m.Task(job, 4)
	require.False(t, known, "it never ran: its result says more")
}

// A request key is found in memory, else on disk.
func TestTheJobOfARequestKey(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.m = fsm.New(&fakeHistory{keys: map[string]*logpb.KeyRecord{"q/old": {Hash: []byte("hash"), Job: 77}}}, nil)
	job := b.must(submitOp(t, &task.Spec{Handler: "h", Queue: "q"}, &logpb.Submit{Tasks: packed(1), Key: "new"})).Job
	for _, c := range []struct {
		queue, key string
		want       uint64
	}{{"q", "new", job}, {"q", "old", 77}, {"q", "none", 0}, {"r", "new", 0}} {
		got, _, ok := b.m.KeyJob(c.queue, c.key)
		require.Equal(t, c.want, got, "%+v", c)
		require.Equal(t, c.want != 0, ok, "%+v", c)
	}
}
