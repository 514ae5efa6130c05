package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func TestWhichVoterMayGo(t *testing.T) {
	t.Parallel()
	sound := func(nodeID string) stayingVoter { return stayingVoter{nodeID: nodeID} }
	lost := func(nodeID string) stayingVoter {
		return stayingVoter{nodeID, "has not answered for 7.0 s"}
	}
	for name, c := range map[string]struct {
		stay  []stayingVoter
		force bool
		err   error
		// says is in the error or in the note.
		says []string
	}{
		"the only voter":                      {err: task.ErrConflict, says: []string{"it is the only voter", "rota cluster add"}},
		"not even by force":                   {force: true, err: task.ErrConflict, says: []string{"it is the only voter"}},
		"one of two":                          {stay: []stayingVoter{sound("n1")}},
		"one of three":                        {stay: []stayingVoter{sound("n1"), sound("n2")}, says: []string{"2 voters survive the loss of 0, as 1 do"}},
		"one of five, while one is lost":      {stay: []stayingVoter{sound("n1"), sound("n2"), sound("n3"), lost("n4")}},
		"one of three, while one is lost":     {stay: []stayingVoter{sound("n1"), lost("n2")}, err: task.ErrConflict, says: []string{"removing n3 would cost", "2 must answer", "1 do", "n2 has not answered", "--force"}},
		"the same by force":                   {stay: []stayingVoter{sound("n1"), lost("n2")}, force: true, says: []string{"forced", "2 must answer", "nothing is acknowledged"}},
		"one of five, while two are lost":     {stay: []stayingVoter{sound("n1"), sound("n2"), lost("n3"), lost("n4")}, err: task.ErrConflict},
		"the lost one of three":               {stay: []stayingVoter{sound("n1"), sound("n2")}},
		"a lost one of five of which two are": {stay: []stayingVoter{sound("n1"), sound("n2"), sound("n3"), lost("n4")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			note, err := mayGo("removing n3", c.stay, c.force)
			require.ErrorIs(t, err, c.err)
			if err != nil {
				note = err.Error()
			}
			for _, s := range c.says {
				require.Contains(t, note, s)
			}
		})
	}
}

func TestAVoteComesAfterAServerHasStayedCaughtUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := steady{}
		require.False(t, s.stayed("n4/d", true))
		time.Sleep(steadyFor - time.Millisecond)
		require.False(t, s.stayed("n4/d", true))
		require.False(t, s.stayed("n4/d", false), "it has fallen behind")
		time.Sleep(steadyFor)
		require.False(t, s.stayed("n4/d", true), "it begins anew")
		time.Sleep(steadyFor)
		require.True(t, s.stayed("n4/d", true))
	})
}

// operated is a raft that does what it is asked to, and notes it.
type operated struct {
	inTermOne
	servers *[]raft.Server
	did     *[]string
}

func (o operated) GetConfiguration() raft.ConfigurationFuture { return configurationFuture{*o.servers} }

func (o operated) change(what string, id raft.ServerID, suffrage raft.ServerSuffrage) raft.IndexFuture {
	*o.did = append(*o.did, what+" "+string(id))
	for i, s := range *o.servers {
		if s.ID == id {
			(*o.servers)[i].Suffrage = suffrage
		}
	}
	return failed(nil)
}

func (o operated) AddVoter(id raft.ServerID, _ raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return o.change("vote", id, raft.Voter)
}

func (o operated) DemoteVoter(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return o.change("demote", id, raft.Nonvoter)
}

func (o operated) RemoveServer(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	*o.did = append(*o.did, "remove "+string(id))
	for i, s := range *o.servers {
		if s.ID == id {
			*o.servers = append((*o.servers)[:i:i], (*o.servers)[i+1:]...)
			break
		}
	}
	return failed(nil)
}

// newOperated is the membership of the leader n1 of a cluster of n1, n2, n3, which vote, and n4, which does not. All answer but
// those that are lost.
func newOperated(t *testing.T, lost silences) (m *membership, did *[]string) {
	t.Helper()
	servers := []raft.Server{serverOf("n1", "1", raft.Voter), serverOf("n2", "2", raft.Voter), serverOf("n3", "3", raft.Voter), serverOf("n4", "4", raft.Nonvoter)}
	var records []*logpb.ServerRecord
	told := answers{}
	for _, s := range servers {
		nodeID := string(s.ID[:2])
		records = append(records, recordOf(nodeID, nodeID[1:], false))
		if lost[s.ID] == 0 {
			told[s.ID] = PeerInfo{Knows: fsm.Version, AppliedIndex: 100}
		}
	}
	m = newMembership(t, lost, records, servers...)
	did = &[]string{}
	r := operated{servers: &servers, did: did}
	m.raft, m.directory.raft, m.identify = r, r, told.identify
	m.checkLeader = func() error { return nil }
	index := uint64(100)
	m.propose = func(_ context.Context, op *logpb.Op) (fsm.Result, error) {
		data, err := fsm.EncodeEntry(m.state.Machine().ActiveVersion(), 1, []*logpb.Op{op})
		require.NoError(t, err)
		index++
		results, err := applyEntry(m.state.Machine(), &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data})
		require.NoError(t, err)
		return results[0], results[0].Err
	}
	_, err := m.propose(t.Context(), &logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: fsm.Version}}})
	require.NoError(t, err)
	return m, did
}

func TestAServerIsRemovedOnce(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, nil)
	c, err := m.remove(t.Context(), ServerRef{NodeID: "n3"}, false)
	require.NoError(t, err)
	require.True(t, c.Removed)
	require.Equal(t, 2, c.Voters)
	require.Contains(t, c.Note, "use an odd number")
	require.Equal(t, []string{"remove n3/3"}, *did)
	again, err := m.remove(t.Context(), ServerRef{NodeID: "n3", ServerID: "3"}, false)
	require.NoError(t, err, "it is sent again")
	require.True(t, again.Removed)
	require.Len(t, *did, 1)
	_, err = m.judge(infoOf("n3", "3"))
	require.ErrorIs(t, err, ErrRemoved, "it comes back with its data")
	fresh, err := m.judge(infoOf("n3", "new"))
	require.NoError(t, err, "it comes back without its data")
	require.False(t, fresh.record.Vote, "its place is gone")
}

func TestARemovalThatCostsTheMajorityIsRefused(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, silences{"n2/2": 7 * time.Second})
	_, err := m.remove(t.Context(), ServerRef{NodeID: "n3"}, false)
	require.ErrorIs(t, err, task.ErrConflict)
	require.ErrorContains(t, err, "n2 has not answered for 7.0 s")
	_, err = m.demote(t.Context(), ServerRef{NodeID: "n3"}, false)
	require.ErrorIs(t, err, task.ErrConflict)
	require.Empty(t, *did)
	require.Empty(t, m.state.Machine().Removed())
	_, err = m.remove(t.Context(), ServerRef{NodeID: "n2"}, false)
	require.NoError(t, err, "the one that is lost may go")
	require.Equal(t, []string{"remove n2/2"}, *did)
}

func TestForceRemovesAllTheSame(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, silences{"n2/2": 7 * time.Second})
	c, err := m.remove(t.Context(), ServerRef{NodeID: "n3"}, true)
	require.NoError(t, err)
	require.Contains(t, c.Note, "forced")
	require.Equal(t, []string{"remove n3/3"}, *did)
}

func TestTheLeaderHandsOverBeforeItGoes(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string]func(*membership) error{
		"remove": func(m *membership) error {
			_, err := m.remove(t.Context(), ServerRef{NodeID: "n1"}, false)
			return err
		},
		"demote": func(m *membership) error {
			_, err := m.demote(t.Context(), ServerRef{NodeID: "n1"}, false)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, did := newOperated(t, nil)
			handed := 0
			m.handOver = func(context.Context) error { handed++; return nil }
			require.ErrorIs(t, gone(m), errNotHere)
			require.Equal(t, 1, handed)
			require.Empty(t, *did)
			require.Empty(t, m.state.Machine().Removed())
		})
	}
}

func TestVotesAreGivenAndTaken(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, nil)
	vote := func() bool { return m.directory.record("n4/4").GetVote() }
	c, err := m.entitle(t.Context(), ServerRef{NodeID: "n4"})
	require.NoError(t, err)
	require.False(t, c.Voter)
	require.Contains(t, c.Note, "once it has caught up")
	require.True(t, vote())
	_, err = m.demote(t.Context(), ServerRef{NodeID: "n4"}, false)
	require.NoError(t, err, "it is not to vote any more")
	require.False(t, vote())
	require.Empty(t, *did)
	c, err = m.promoteNow(t.Context(), ServerRef{NodeID: "n4"})
	require.NoError(t, err)
	require.True(t, c.Voter)
	require.Equal(t, 4, c.Voters)
	require.True(t, vote())
	c, err = m.entitle(t.Context(), ServerRef{NodeID: "n4"})
	require.NoError(t, err, "it votes already")
	require.True(t, c.Voter)
	c, err = m.demote(t.Context(), ServerRef{NodeID: "n4"}, false)
	require.NoError(t, err)
	require.False(t, c.Voter)
	require.False(t, vote(), "it would get its vote again at once")
	require.Equal(t, []string{"vote n4/4", "demote n4/4"}, *did)
	_, err = m.entitle(t.Context(), ServerRef{NodeID: "n9"})
	require.ErrorIs(t, err, task.ErrNotFound)
	_, err = m.entitle(t.Context(), ServerRef{NodeID: "n4", ServerID: "other"})
	require.ErrorIs(t, err, task.ErrNotFound)
}

func TestAServerThatIsBehindIsNotPromoted(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, silences{"n4/4": 7 * time.Second})
	_, err := m.promoteNow(t.Context(), ServerRef{NodeID: "n4"})
	require.ErrorIs(t, err, task.ErrConflict)
	require.ErrorContains(t, err, "rota cluster add")
	require.Empty(t, *did)
	require.False(t, m.directory.record("n4/4").GetVote())
}

// A leader is lost when it has noted a removal, and has not changed Raft's configuration yet.
func TestTheNextLeaderGoesOnWithARemoval(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, nil)
	require.NoError(t, m.noteRemoval(t.Context(), "n3/3"))
	_, err := m.judge(infoOf("n3", "3"))
	require.ErrorIs(t, err, task.ErrUnavailable)
	require.NotErrorIs(t, err, ErrRemoved, "its vote may be needed")
	m.tidy(t.Context())
	require.Contains(t, *did, "remove n3/3")
	_, err = m.judge(infoOf("n3", "3"))
	require.ErrorIs(t, err, ErrRemoved)
}

func TestARemovalWaitsForTheMajority(t *testing.T) {
	t.Parallel()
	m, did := newOperated(t, silences{"n2/2": 7 * time.Second})
	require.NoError(t, m.noteRemoval(t.Context(), "n3/3"))
	m.tidy(t.Context())
	require.NotContains(t, *did, "remove n3/3")
	notes := m.joins.notes()
	require.Len(t, notes, 1)
	require.Equal(t, "n3", notes[0].NodeID)
	require.Contains(t, notes[0].Problem, "it is being removed, and that has to wait")
}

// Older servers do not know removals, and would give other servers votes by another rule.
func TestServersAreChangedOnceAllKnowHow(t *testing.T) {
	t.Parallel()
	m := newMembership(t, nil, []*logpb.ServerRecord{recordOf("n1", "1", true)}, serverOf("n1", "1", raft.Voter))
	m.checkLeader = func() error { return nil }
	_, err := m.remove(t.Context(), ServerRef{NodeID: "n1"}, false)
	require.ErrorIs(t, err, task.ErrUnsupported)
}
