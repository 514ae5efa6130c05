package fsm_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A job that any of thousands could run is offered to as many as were asked for, from another one on each time, and
// one that a single one can run to that.
func TestCandidatesAreFoundHoweverManyCannot(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	labels := manyLabels(1000)
	ids := make([]uint64, len(labels))
	for i, l := range labels {
		ids[i] = b.openAble(fmt.Sprint("w", i), 1, l)
	}
	of := func(turn uint64, require ...task.Pair) (out []uint64) {
		spec := &task.Spec{Handler: "h", Require: require}
		spec.SetDefaults()
		for _, s := range b.m.Candidates(spec, 4, turn) {
			out = append(out, s.ID)
		}
		return out
	}
	require.Equal(t, ids[:4], of(0))
	require.Equal(t, ids[500:504], of(500))
	require.Equal(t, append(slices.Clone(ids[998:]), ids[:2]...), of(998))
	for _, turn := range []uint64{0, 700, 999, math.MaxUint64} {
		require.Equal(t, []uint64{ids[700]}, of(turn, labels[700]))
	}
	require.Empty(t, of(0, labels[1], labels[2]))
}

// What workers can run is told by handler, command, queue and label, whichever are rare.
func TestWhoAcceptsAJob(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	zone := func(z string) []*logpb.Pair { return []*logpb.Pair{{Key: "zone", Value: z}} }
	for i, s := range []*logpb.Session{
		{Handlers: []string{"h"}},
		{Handlers: []string{"h", "g"}, Labels: zone("a")},
		{Handlers: []string{"h"}, Labels: zone("b"), Queues: []string{"q"}},
		{Commands: true, Labels: zone("a"), Queues: []string{"q", "default"}},
	} {
		s.Worker, s.Nonce, s.Slots = fmt.Sprint(i), []byte{1}, 1
		b.must(&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: s}}})
	}
	for _, c := range []struct {
		spec task.Spec
		want []uint64
	}{
		{task.Spec{Handler: "h"}, []uint64{1, 2}},
		{task.Spec{Handler: "g"}, []uint64{2}},
		{task.Spec{Handler: "h", Queue: "q"}, []uint64{1, 2, 3}},
		{task.Spec{Handler: "h", Queue: "q", Require: []task.Pair{{Key: "zone", Value: "b"}}}, []uint64{3}},
		{task.Spec{Handler: "h", Require: []task.Pair{{Key: "zone", Value: "b"}}}, nil},
		{task.Spec{Command: []string{"true"}}, []uint64{4}},
		{task.Spec{Command: []string{"true"}, Queue: "other"}, nil},
		{task.Spec{Handler: "none"}, nil},
	} {
		c.spec.SetDefaults()
		var got []uint64
		for _, s := range b.m.Candidates(&c.spec, 10, 0) {
			got = append(got, s.ID)
		}
		require.Equal(t, c.want, got, "%+v", c.spec)
	}
}
