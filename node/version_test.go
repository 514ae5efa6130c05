package node

import (
	"context"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// newVersionRise is that of a cluster with a log from before the gate. raised gets what it proposes.
func newVersionRise(t *testing.T, identify identifyFunc) (v *versionRise, raised *[]uint32) {
	t.Helper()
	state := newInMemory()
	_, err := applyEntry(state.machine, checkpoint(t, knownBefore, 1))
	require.NoError(t, err)
	require.EqualValues(t, knownBefore, state.machine.ActiveVersion())
	raised = &[]uint32{}
	propose := func(_ context.Context, op *logpb.Op) (fsm.Result, error) {
		*raised = append(*raised, op.GetSetVersion().GetVersion())
		return fsm.Result{}, nil
	}
	return &versionRise{
		self: fourServers[0].ID, knows: fsm.Version, servers: serversOf, identify: identify, state: state, propose: propose, lock: newMembersLock(), logger: silent,
		aboutToVote: func(raft.Server) bool { return false },
	}, raised
}

func TestTheVersionRisesToWhatAllVotersKnow(t *testing.T) {
	t.Parallel()
	n2, n3, n4 := fourServers[1].ID, fourServers[2].ID, fourServers[3].ID
	knows := func(version uint32) PeerInfo { return PeerInfo{Knows: version} }
	for name, c := range map[string]struct {
		answers answers
		want    []uint32
	}{
		"all know it, and newer ones":        {answers{n2: knows(fsm.Version + 4), n4: knows(fsm.Version)}, []uint32{fsm.Version}},
		"one that has no vote does not":      {answers{n2: knows(fsm.Version), n3: knows(knownBefore), n4: knows(fsm.Version)}, []uint32{fsm.Version}},
		"one voter does not":                 {answers{n2: knows(fsm.Version), n4: knows(knownBefore)}, nil},
		"one voter is from before the gate":  {answers{n2: knows(0), n4: knows(fsm.Version)}, nil},
		"one voter does not answer":          {answers{n2: knows(fsm.Version), n3: knows(fsm.Version)}, nil},
		"nobody but this server knows of it": {answers{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, raised := newVersionRise(t, c.answers.identify)
			v.raise(t.Context())
			require.ElementsMatch(t, c.want, *raised)
			require.Empty(t, v.lock)
		})
	}
}

// A server that has taken the place of a voter would stop at the rise, and could not get its vote.
func TestAVersionWaitsForAServerThatIsAboutToVote(t *testing.T) {
	t.Parallel()
	known := answers{}
	for _, s := range fourServers {
		known[s.ID] = PeerInfo{Knows: fsm.Version}
	}
	heir := fourServers[2]
	require.NotEqual(t, raft.Voter, heir.Suffrage)
	known[heir.ID] = PeerInfo{Knows: knownBefore}
	v, raised := newVersionRise(t, known.identify)
	waits := true
	v.aboutToVote = func(s raft.Server) bool { return waits && s.ID == heir.ID }
	v.raise(t.Context())
	require.Empty(t, *raised)
	waits = false
	v.raise(t.Context())
	require.Equal(t, []uint32{fsm.Version}, *raised)
}

// A server may be started again, as an older build, between the question and the rise. While the lock is held
// no other server can get a vote.
func TestVotersAreAskedAgainWhileNobodyCanGetAVote(t *testing.T) {
	t.Parallel()
	asked := 0
	var v *versionRise
	v, raised := newVersionRise(t, func(context.Context, raft.ServerID) (PeerInfo, error) {
		if asked++; asked <= 2 {
			require.Empty(t, v.lock, "voters that do not answer keep nobody from joining")
			return PeerInfo{Knows: fsm.Version}, nil
		}
		require.Len(t, v.lock, 1)
		return PeerInfo{Knows: knownBefore}, nil
	})
	v.raise(t.Context())
	require.Greater(t, asked, 2)
	require.Empty(t, *raised)
	require.Empty(t, v.lock)
}

func TestAVersionThatIsActiveIsNotRaised(t *testing.T) {
	t.Parallel()
	v, raised := newVersionRise(t, func(context.Context, raft.ServerID) (PeerInfo, error) {
		require.Fail(t, "there is nothing to ask")
		return PeerInfo{}, nil
	})
	_, err := applyEntry(v.state.Machine(), rise(t, fsm.Version, 2))
	require.NoError(t, err)
	v.raise(t.Context())
	require.Empty(t, *raised)
}

// rise is the entry that raises the version.
func rise(t *testing.T, version uint32, index uint64) *raft.Log {
	t.Helper()
	data, err := fsm.EncodeEntry(version, int64(index), []*logpb.Op{{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: version}}}})
	require.NoError(t, err)
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}
}

// It would stop at the next entry.
func TestAServerThatIsTooOldIsNotTakenIn(t *testing.T) {
	t.Parallel()
	require.NoError(t, checkKnows(&PeerInfo{Knows: 5}, 5))
	require.ErrorIs(t, checkKnows(&PeerInfo{Knows: 4}, 5), task.ErrUnsupported)
	require.NoError(t, checkKnows(&PeerInfo{}, knownBefore))
	require.ErrorIs(t, checkKnows(&PeerInfo{}, fsm.GateVersion), task.ErrUnsupported)
}
