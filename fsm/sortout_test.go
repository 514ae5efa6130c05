package fsm_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// tokensOf names count tasks of a job from first on under tokens.
func tokensOf(job uint64, first, count uint32, offset int64) *logpb.ReportGroup {
	return &logpb.ReportGroup{Job: job, TokenOffset: offset, Ranges: []*logpb.Range{{First: first, Count: count}}, Outcome: uint32(task.OutcomeSucceeded)}
}

// A server that has not yet applied a grant must not answer as if there was none.
func TestTokensThatNobodyWasGrantedAreAhead(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 10)
	job := b.submit(&task.Spec{Handler: "h"}, 20)
	b.plan(job, 0, 10, s) // the next token is 11
	for name, c := range map[string]struct {
		group *logpb.ReportGroup
		ahead bool
	}{
		"held":                   {tokensOf(job, 0, 10, 1), false},
		"an older one":           {tokensOf(job, 0, 1, 10), false},
		"the next one":           {tokensOf(job, 0, 1, 11), true},
		"the last is":            {tokensOf(job, 0, 3, 9), true},
		"only those not held":    {tokensOf(job, 5, 6, 1), true},
		"of another job":         {tokensOf(99, 0, 1, 11), true},
		"of another job, before": {tokensOf(99, 0, 1, 10), false},
	} {
		require.Equal(t, c.ahead, b.m.SortOut(s, []*logpb.ReportGroup{c.group}).Ahead, name)
	}
	both := b.m.SortOut(s, []*logpb.ReportGroup{tokensOf(job, 0, 1, 11), tokensOf(99, 0, 1, 10)})
	require.True(t, both.Ahead, "one group is enough")
}

// What is held of a group is reported as the whole group was. A new field must not be forgotten.
func TestAPartOfAReportSaysWhatTheWholeDoes(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 3)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.plan(job, 0, 3, s)
	b.report(job, 1, 1, 0, task.OutcomeSucceeded)
	pack := func(texts ...string) (packed []byte) {
		for _, text := range texts {
			packed = task.PackAppend(packed, []byte(text))
		}
		return packed
	}
	whole := &logpb.ReportGroup{
		Job: job, TokenOffset: 1, Ranges: []*logpb.Range{{Count: 3}}, Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError),
		ExitCodePlusOne: 4, Error: "e", StderrTail: []byte("s"), Permanent: true, OutputMissing: 5, OutputHead: 6, StderrMissing: 7,
		PackedOutputs: pack("a", "b", "c"), PackedUsage: pack("A", "B", "C"),
	}
	fields := whole.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		require.True(t, whole.ProtoReflect().Has(fields.Get(i)), "%s: give it a value here", fields.Get(i).Name())
	}
	before := proto.CloneOf(whole)
	sorted := b.m.SortOut(s, []*logpb.ReportGroup{whole})
	require.True(t, proto.Equal(before, whole), "the caller's copy has changed")
	require.Len(t, sorted.Held, 1)
	require.Equal(t, []int{2}, sorted.Counts)
	want := before
	want.Ranges = []*logpb.Range{{First: 0, Count: 1}, {First: 2, Count: 1}}
	want.PackedOutputs, want.PackedUsage = pack("a", "c"), pack("A", "C")
	sorted.Held[0].ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		require.True(t, v.Equal(want.ProtoReflect().Get(f)), "%s", f.Name())
		return true
	})
	require.True(t, proto.Equal(want, sorted.Held[0]))
}

// If the disk fails while a report is sorted out, there are no verdicts.
func TestADiskThatFailsGivesNoVerdicts(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	gone := errors.New("the disk is gone")
	sorted := b.m.SortOut(1, []*logpb.ReportGroup{tokensOf(9, 0, 3, 1)})
	out, err := sorted.Exceptions(func(uint64, []task.Range, func(task.Range, fsm.LastToken)) error { return gone })
	require.ErrorIs(t, err, gone)
	require.Empty(t, out)
}

// Tasks that are sorted out before a report is proposed get the same verdicts as from Apply.
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
