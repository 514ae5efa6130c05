package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// applyAs applies an entry of a version.
func (b *testBundle) applyAs(version uint32, op *logpb.Op) fsm.Result {
	b.t.Helper()
	data, err := proto.Marshal(&logpb.Entry{Version: version, ClockNs: b.clock, Ops: []*logpb.Op{op}})
	require.NoError(b.t, err)
	b.index++
	results, err := b.m.Apply(b.index, 1, data)
	require.NoError(b.t, err)
	require.NoError(b.t, results[0].Err)
	return results[0]
}

func riseOp(version uint32) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: version}}}
}

// digestOfVersion1 is the digest that a build that knew only version 1 gets from the entries below.
const digestOfVersion1 = 0x104e7237e7b06628

// When servers of an older build are replaced, each of them has applied such entries up to another place. This build
// must apply the rest with the same result.
func TestEntriesOfVersion1MeanWhatTheyMeant(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	const old = 1
	b.applyAs(old, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{
		Worker: "w", Nonce: []byte("w"), Slots: 9, Handlers: []string{"h"},
	}}}})
	b.applyAs(old, submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 9}}))
	b.applyAs(old, planOp(1, 0, 9, 1))
	for first, outcome := range []task.Outcome{task.OutcomeFailed, task.OutcomeStopped, task.OutcomeLost, task.OutcomeReturned, task.OutcomeSucceeded} {
		b.applyAs(old, reportOp(1, uint32(first), 1, 0, outcome))
	}
	b.applyAs(old, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: 1}}})
	_, digest := b.m.Digest()
	require.Equal(t, uint64(digestOfVersion1), digest)
}

func TestANewClusterBeginsWithTheGate(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	require.EqualValues(t, fsm.GateVersion, b.m.ActiveVersion())
	b.openSession("w", 1)
	require.EqualValues(t, fsm.GateVersion, b.m.ActiveVersion())
	require.EqualValues(t, fsm.GateVersion, b.m.TakeBatch().Meta.Version)
}

// A log from before the gate gets one with the first rise, which no entry of an older version contains.
func TestTheActiveVersionRisesAndNeverFalls(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.applyAs(2, &logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: "c"}}})
	require.EqualValues(t, 2, b.m.ActiveVersion(), "entries are written as the servers from before the gate know them")
	data, err := proto.Marshal(&logpb.Entry{Version: 2, Ops: []*logpb.Op{riseOp(fsm.GateVersion)}})
	require.NoError(t, err)
	b.index++
	results, err := b.m.Apply(b.index, 1, data)
	require.NoError(t, err)
	require.ErrorIs(t, results[0].Err, task.ErrUnsupported)
	require.EqualValues(t, 2, b.m.ActiveVersion())

	_, before := b.m.Digest()
	require.False(t, b.must(riseOp(fsm.GateVersion)).Existed)
	require.EqualValues(t, fsm.GateVersion, b.m.ActiveVersion())
	_, behind := b.m.Digest()
	require.NotEqual(t, before, behind, "the active version is a part of the digest")
	require.EqualValues(t, fsm.GateVersion, b.m.TakeBatch().Meta.Version)
	require.True(t, b.must(riseOp(fsm.GateVersion)).Existed)
	require.True(t, b.must(riseOp(1)).Existed)
	b.applyAs(1, &logpb.Op{Op: &logpb.Op_Checkpoint{Checkpoint: &logpb.Checkpoint{Id: 1}}})
	require.EqualValues(t, fsm.GateVersion, b.m.ActiveVersion())
}

// A leader may have made entries before it has seen the rise. By then the state may contain what their version did
// not know.
func TestEntriesFromBeforeARiseMeanWhatTheActiveVersionMeans(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.openSession("w", 9)
	job := b.submit(&task.Spec{Handler: "h"}, 1)
	b.applyAs(1, planOp(job, 0, 1, 1))
	b.applyAs(1, reportOp(job, 0, 1, 0, task.OutcomeFailed))
	require.Len(t, b.m.Attempts(job, 0), 1, "entries of version 1 leave none")
}

func TestARiseStandsAloneInItsEntry(t *testing.T) {
	t.Parallel()
	require.Greater(t, fsm.New(nothing{}, nil).Weight(riseOp(fsm.GateVersion)), fsm.MaxEntryTasks)
}

func TestAStateOfANewerVersionIsNotLoaded(t *testing.T) {
	t.Parallel()
	err := fsm.New(nothing{}, nil).Load(&logpb.Meta{Version: fsm.Version + 1}, nil, nil, func(func(*fsm.SavedJob) error) error { return nil })
	require.ErrorIs(t, err, fsm.ErrTooOld)
	require.ErrorContains(t, err, "start the newer build again")
}

// Ops up to SetVersion are known to each build with a version gate. A leader must not propose a newer one while older
// builds vote: they would stop.
func TestEachNewOpNeedsAVersion(t *testing.T) {
	t.Parallel()
	const newestBefore = 16 // SetVersion
	ops := (&logpb.Op{}).ProtoReflect().Descriptor().Oneofs().ByName("op").Fields()
	for i := range ops.Len() {
		field, op := ops.Get(i), &logpb.Op{}
		op.ProtoReflect().Set(field, op.ProtoReflect().NewField(field))
		if field.Number() > newestBefore {
			require.Greater(t, fsm.Needs(op), uint32(fsm.GateVersion), "%s: fsm.Needs must return the version that brings it (docs/upgrade.md)", field.Name())
		}
		require.LessOrEqual(t, fsm.Needs(op), uint32(fsm.Version), field.Name())
	}
}
