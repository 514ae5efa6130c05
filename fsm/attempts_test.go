package fsm_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Neighbours whose attempts end alike share a record.
func TestAttemptsThatEndAlikeShareARecord(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 5}, 10)
	b.plan(job, 0, 10, s)
	require.Nil(t, b.m.LastAttempt(job))
	b.report(job, 0, 4, 0, task.OutcomeFailed)
	b.report(job, 5, 1, 0, task.OutcomeFailed)
	b.report(job, 6, 2, 0, task.OutcomeSucceeded)
	for i, want := range map[uint32][]task.Range{0: {{First: 0, Count: 4}}, 3: {{First: 0, Count: 4}}, 4: nil, 5: {{First: 5, Count: 1}}, 6: nil} {
		var got []task.Range
		for _, a := range b.m.Attempts(job, i) {
			got = append(got, task.Range{First: a.First, Count: a.Count})
			require.EqualValues(t, 1, a.Attempt)
			require.EqualValues(t, task.OutcomeFailed, a.Outcome)
			require.Equal(t, "w", a.Worker)
			require.Equal(t, b.clock, a.EndedNs)
		}
		require.Equal(t, want, got, "task %d", i)
	}
	require.EqualValues(t, 5, b.m.LastAttempt(job).First, "the newest")
	b.flush()
	require.Empty(t, b.m.Attempts(job, 0), "they are on disk")
	require.Nil(t, b.m.LastAttempt(job))
	require.Nil(t, b.m.LastAttempt(99))
	require.Empty(t, b.m.Attempts(99, 0))
}

// A task that is tried again has a record of each attempt, in their order.
func TestEachAttemptOfATaskHasARecord(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 5}, 2)
	for _, w := range []string{"a", "b", "c"} {
		s := b.openSession(w, 10)
		require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
		b.closeSession(s)
	}
	var workers []string
	for n, a := range b.m.Attempts(job, 0) {
		require.EqualValues(t, n+1, a.Attempt)
		require.EqualValues(t, task.ReasonWorkerLost, a.Reason)
		workers = append(workers, a.Worker)
	}
	require.Equal(t, []string{"a", "b", "c"}, workers)
	require.EqualValues(t, 3, b.m.LastAttempt(job).Attempt)
	require.Empty(t, b.m.Attempts(job, 1))
	rec, _ := b.m.Job(job)
	require.NotZero(t, rec.AttemptsSum, "they are in the digest")
}

func usageOf(texts ...string) (usage []byte) {
	for _, text := range texts {
		usage = task.PackAppend(usage, []byte(text))
	}
	return usage
}

// If tasks leave a record, the rest keeps what its own tasks have used, and everything else as it was.
func TestWhatTasksLeaveOfARecord(t *testing.T) {
	t.Parallel()
	whole := &logpb.Attempt{
		First: 10, Count: 4, Attempt: 2, Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError), ExitCodePlusOne: 3, Error: "e",
		StderrTail: []byte("s"), Worker: "w", TokenOffset: -7, GrantedNs: 5, EndedNs: 9, PackedUsage: usageOf("a", "bb", "", "d"),
	}
	part := func(first, count uint32, usage ...string) *logpb.Attempt {
		p := proto.CloneOf(whole)
		p.First, p.Count, p.PackedUsage = first, count, usageOf(usage...)
		return p
	}
	for name, c := range map[string]struct {
		first, end uint32
		want       []*logpb.Attempt
	}{
		"the first":        {10, 11, []*logpb.Attempt{part(11, 3, "bb", "", "d")}},
		"the last":         {13, 14, []*logpb.Attempt{part(10, 3, "a", "bb", "")}},
		"one in between":   {11, 12, []*logpb.Attempt{part(10, 1, "a"), part(12, 2, "", "d")}},
		"all":              {10, 14, nil},
		"all and others":   {0, 100, nil},
		"those before it":  {0, 10, []*logpb.Attempt{whole}},
		"those behind it":  {14, 20, []*logpb.Attempt{whole}},
		"more than it has": {12, 20, []*logpb.Attempt{part(10, 2, "a", "bb")}},
	} {
		before := proto.CloneOf(whole)
		got := fsm.AttemptWithout(whole, c.first, c.end)
		require.Len(t, got, len(c.want), name)
		for i := range got {
			require.True(t, proto.Equal(c.want[i], got[i]), "%s: %v", name, got[i])
		}
		require.True(t, proto.Equal(before, whole), name)
	}
}

// If a record is split in two, only the larger part keeps long notes.
func TestLongNotesAreNotDoubled(t *testing.T) {
	t.Parallel()
	whole := &logpb.Attempt{First: 0, Count: 10, Error: strings.Repeat("e", 1000), StderrTail: []byte("stderr")}
	for first, longer := range map[uint32]int{2: 1, 7: 0} {
		left := fsm.AttemptWithout(whole, first, first+1)
		require.Len(t, left, 2)
		require.Equal(t, whole.Error, left[longer].Error)
		require.Equal(t, whole.StderrTail, left[longer].StderrTail)
		require.Equal(t, whole.Error[:128], left[1-longer].Error)
		require.Empty(t, left[1-longer].StderrTail)
	}
	only := fsm.AttemptWithout(whole, 0, 9)
	require.Len(t, only, 1)
	require.Equal(t, whole.Error, only[0].Error, "there is only one")
}

// A task may have ten of them, so they keep less of a standard error than its result.
func TestAnAttemptKeepsLessOfItsStandardErrorThanAResult(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.must(riseOp(4))
	b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 2}, 1)
	b.plan(job, 0, 1, 1)
	op := reportOp(job, 0, 1, 0, task.OutcomeFailed)
	g := op.GetReport().Groups[0]
	g.StderrTail, g.StderrMissing = []byte(strings.Repeat("a", task.MaxStderrTail-3)+"end"), 5
	b.must(op)
	a := b.m.Attempts(job, 0)[0]
	require.Len(t, a.StderrTail, task.MaxAttemptStderr)
	require.True(t, strings.HasSuffix(string(a.StderrTail), "aend"))
	require.EqualValues(t, 5+task.MaxStderrTail-task.MaxAttemptStderr, a.StderrMissing)
	refused := newBundle(t)
	require.ErrorIs(t, refused.apply(op)[0].Err, task.ErrUnsupported, "servers of before version 4 do not know the field")
}
