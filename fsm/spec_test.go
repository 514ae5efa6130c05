package fsm_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Jobs whose specs have the same bytes share one.
func TestJobsOfTheSameSpecShareIt(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]int{"within records": 10, "apart": fsm.SpecApart} {
		b := newBundle(t)
		spec := func(fill string) *task.Spec {
			return &task.Spec{Handler: "h", SharedPayload: []byte(strings.Repeat(fill, payload))}
		}
		of := func(job uint64) fsm.JobSpec {
			s, ok := b.m.SpecOf(job)
			require.True(t, ok)
			return s
		}
		one, same, other := b.submit(spec("a"), 1), b.submit(spec("a"), 1), b.submit(spec("b"), 1)
		require.Same(t, of(one).Spec, of(same).Spec, name)
		require.Equal(t, of(one).ID, of(same).ID, name)
		require.NotEqual(t, of(one).ID, of(other).ID, name)
		b.must(cancelJobOp(one))
		b.flush()
		require.NotNil(t, of(same).Spec, "%s: the other one still has it", name)
		require.Same(t, of(same).Spec, of(b.submit(spec("a"), 1)).Spec, name)
		require.Empty(t, b.m.CheckInvariants(), name)
	}
}

// A spec that is refused leaves nothing behind, and is refused again.
func TestASpecThatIsNotValidIsRefused(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.apply() // it sets the clock
	for name, raw := range map[string][]byte{
		"of no bytes":        nil,
		"that is no message": {0xff},
		"without anything":   must(fsm.EncodeSpec(&task.Spec{Queue: "q"})),
		"with both":          must(fsm.EncodeSpec(&task.Spec{Handler: "h", Command: []string{"c"}})),
	} {
		for range 2 {
			_, before := b.m.Digest()
			r := b.apply(&logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}}}})[0]
			require.ErrorIs(t, r.Err, task.ErrInvalid, name)
			_, after := b.m.Digest()
			require.Equal(t, before, after, name)
			require.Empty(t, b.m.CheckInvariants(), name)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// If a newer build has put something unknown into a spec, the server stops before it applies anything of the entry.
func TestASpecThatThisBuildDoesNotKnowChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h"}, 3)
	b.m.Flushed(b.m.TakeBatch())
	index, before := b.m.Digest()
	known := submitOp(t, &task.Spec{Handler: "another"}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1}})
	newer := proto.CloneOf(known)
	newer.GetSubmit().Spec = append(bytes.Clone(known.GetSubmit().Spec), unknownField...)
	data, err := fsm.EncodeEntry(fsm.GateVersion, b.clock, []*logpb.Op{cancelOp(job, 1), known, newer})
	require.NoError(t, err)
	_, err = b.m.Apply(index+1, 1, data)
	require.ErrorIs(t, err, fsm.ErrTooOld)
	require.ErrorContains(t, err, "its data is whole: start the newer build again")
	at, digest := b.m.Digest()
	require.Equal(t, index, at)
	require.Equal(t, before, digest)
	require.Nil(t, b.m.TakeBatch(), "something is written")
	require.Empty(t, b.m.CheckInvariants())
}

// Only one of two servers has a job with a spec in memory. Whether that spec may be submitted again must not depend
// on it: the rules may have changed since.
func TestWhetherASpecIsValidDoesNotDependOnWhatIsInMemory(t *testing.T) {
	t.Parallel()
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "h", Queue: "q", Policy: task.LeastLoaded, MaxAttempts: task.MaxAttempts + 1})
	require.NoError(t, err)
	saved := &logpb.JobRecord{Id: 1, Spec: raw, Total: 1, Counts: make([]uint32, task.NumStates)}
	saved.Counts[task.Pending] = 1
	with, without := newBundle(t), newBundle(t)
	// The file's digest lacks the digest of the job. Nothing else is wrong with it.
	err = with.m.Load(&logpb.Meta{NextJob: 2, NextToken: 1, NextSession: 1}, nil, nil, func(yield func(*fsm.SavedJob) error) error {
		return yield(&fsm.SavedJob{Record: saved, Index: func(func(uint32, []byte) error) error { return nil }})
	})
	if err != nil {
		require.ErrorContains(t, err, "digest")
	}
	for _, b := range []*testBundle{with, without} {
		r := b.apply(&logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}}}})[0]
		require.ErrorIs(t, r.Err, task.ErrInvalid)
	}
}
