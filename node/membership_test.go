package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// configuration is a raft that has some servers.
type configuration []raft.Server

func (c configuration) GetConfiguration() raft.ConfigurationFuture { return configurationFuture{c} }

type configurationFuture struct{ servers []raft.Server }

func (f configurationFuture) Error() error  { return nil }
func (f configurationFuture) Index() uint64 { return 1 }
func (f configurationFuture) Configuration() raft.Configuration {
	return raft.Configuration{Servers: f.servers}
}

// silences is how long servers have not answered.
type silences map[raft.ServerID]time.Duration

func (s silences) Silence(id raft.ServerID, _ uint64) time.Duration { return s[id] }
func (s silences) Forget(raft.ServerID)                             {}

// ReachedAt says that servers are reached which are called so.
func (s silences) ReachedAt(id raft.ServerID, _ uint64) raft.ServerAddress {
	switch id {
	case raftnet.ServerID("n3", "found"):
		return "elsewhere:7421"
	case raftnet.ServerID("n2", "away"):
		return "third:7421"
	}
	return ""
}

// inTermOne is a raft in term 1, which is asked for no change.
type inTermOne struct{ membersRaft }

func (inTermOne) CurrentTerm() uint64 { return 1 }

// voting is inTermOne that notes which servers get a vote.
type voting struct {
	inTermOne
	votes *[]raft.ServerID
}

func (v voting) AddVoter(id raft.ServerID, _ raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	*v.votes = append(*v.votes, id)
	done := newFuture()
	done.end(nil, nil)
	return done
}

// recordOf is the record of a server, which is at an address of its name.
func recordOf(nodeID, serverID string, vote bool) *logpb.ServerRecord {
	return &logpb.ServerRecord{NodeId: nodeID, ServerId: serverID, Addr: nodeID + ":7420", PeerAddr: nodeID + ":7421", Vote: vote}
}

// infoOf is what that server says of itself.
func infoOf(nodeID, serverID string) PeerInfo {
	return PeerInfo{NodeID: nodeID, ServerID: serverID, Addr: nodeID + ":7420", PeerAddr: nodeID + ":7421"}
}

func serverOf(nodeID, serverID string, suffrage raft.ServerSuffrage) raft.Server {
	info := infoOf(nodeID, serverID)
	return raft.Server{ID: info.RaftID(), Address: raft.ServerAddress(info.PeerAddr), Suffrage: suffrage}
}

// newMembership returns the membership of the leader n1, in a cluster of servers that are recorded.
func newMembership(t *testing.T, l silences, records []*logpb.ServerRecord, servers ...raft.Server) *membership {
	t.Helper()
	state := newInMemory()
	for i, r := range records {
		op := &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: r}}}
		data, err := fsm.EncodeEntry(fsm.Version, 1, []*logpb.Op{op})
		require.NoError(t, err)
		results, err := applyEntry(state.machine, &raft.Log{Index: uint64(i) + 1, Term: 1, Type: raft.LogCommand, Data: data})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
	}
	own := infoOf("n1", "1")
	me := &self{id: own.RaftID(), nodeID: own.NodeID, serverID: own.ServerID, addr: own.Addr, peerAddr: own.PeerAddr}
	return &membership{
		self: me, raft: inTermOne{}, state: state, contact: l, leader: hint(""), logger: silent, lock: newMembersLock(),
		directory: &directory{self: me, raft: configuration(servers), state: state, where: &whereabouts{}},
	}
}

// A leader decides from what it knows, before it asks anybody or writes anything.
func TestWhatALeaderDoesForAServerThatAsks(t *testing.T) {
	t.Parallel()
	const voter, nonvoter = raft.Voter, raft.Nonvoter
	n1, n2, n3 := serverOf("n1", "1", voter), serverOf("n2", "2", voter), serverOf("n3", "3", voter)
	cluster := []raft.Server{n1, n2, n3}
	records := []*logpb.ServerRecord{recordOf("n1", "1", true), recordOf("n2", "2", true), recordOf("n3", "3", true)}
	dead := 2 * replaceAfter
	moved := infoOf("n3", "3")
	moved.Addr, moved.PeerAddr = "elsewhere:7420", "elsewhere:7421"
	restarted := infoOf("n3", "3")
	restarted.Addr = "elsewhere:7420"
	intruder := infoOf("n9", "9")
	intruder.PeerAddr = string(n2.Address)
	found, away := serverOf("n3", "found", voter), serverOf("n2", "away", voter)
	isFound := moved
	isFound.ServerID = "found"
	exchanged := infoOf("n3", "3")
	exchanged.PeerAddr = string(n2.Address)
	extra := []raft.Server{serverOf("x1", "1", nonvoter), serverOf("x2", "2", nonvoter), serverOf("x3", "3", nonvoter)}
	for name, c := range map[string]struct {
		who      PeerInfo
		silences silences
		records  []*logpb.ServerRecord // nil: those of the cluster
		servers  []raft.Server         // nil: the cluster
		err      error
		// put, add, vote and gone are those of the change.
		put, add, vote bool
		gone, inWay    raft.ServerID
	}{
		"it is where it is recorded":               {who: infoOf("n3", "3"), vote: true},
		"this server records itself":               {who: infoOf("n1", "1")},
		"a new one gets no vote":                   {who: infoOf("n4", "4"), put: true, add: true},
		"its gRPC address is another one":          {who: restarted, put: true, vote: true},
		"it has moved, and nobody is where it was": {who: moved, silences: silences{n3.ID: dead}, put: true, add: true, vote: true},
		"it has moved, and answers where it was":   {who: moved, err: task.ErrConflict},
		"it has moved, and is reached there": {
			who: isFound, servers: []raft.Server{n1, n2, found}, records: []*logpb.ServerRecord{records[0], records[1], recordOf("n3", "found", true)},
			put: true, add: true, vote: true,
		},
		"its Raft address was that of one that has moved": {
			who: exchanged, servers: []raft.Server{n1, away, n3}, silences: silences{n3.ID: dead}, put: true, add: true, vote: true, inWay: away.ID,
		},
		"its Raft address was that of one that is gone": {
			who: exchanged, silences: silences{n3.ID: dead, n2.ID: dead}, put: true, add: true, vote: true, inWay: n2.ID,
		},
		"its Raft address was that of one that was there just now": {
			who: exchanged, silences: silences{n3.ID: dead, n2.ID: time.Second}, err: task.ErrConflict,
		},
		"it has moved just now":         {who: moved, silences: silences{n3.ID: time.Second}, err: task.ErrUnavailable},
		"it replaces one that is gone":  {who: infoOf("n3", "new"), silences: silences{n3.ID: dead}, put: true, add: true, vote: true, gone: n3.ID},
		"it replaces one that is alive": {who: infoOf("n3", "new"), err: task.ErrConflict},
		"another one is being replaced": {
			who: infoOf("n3", "new"), silences: silences{n3.ID: dead}, servers: []raft.Server{n1, n3}, err: task.ErrUnavailable,
		},
		"a leader was lost in the midst of its replacement": {
			who: infoOf("n3", "new"), records: []*logpb.ServerRecord{records[0], records[1], recordOf("n3", "new", true)}, servers: []raft.Server{n1, n2},
			put: true, add: true, vote: true,
		},
		"its Raft address is that of another one": {who: intruder, err: task.ErrConflict},
		"there are enough without a vote":         {who: infoOf("n4", "4"), servers: append(extra, cluster...), err: task.ErrExhausted},
		"one without a vote has been gone for long": {
			who: infoOf("n4", "4"), servers: append(extra, cluster...), silences: silences{extra[1].ID: evictAfter + 1}, put: true, add: true, gone: extra[1].ID,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.records == nil {
				c.records = records
			}
			if c.servers == nil {
				c.servers = cluster
			}
			m := newMembership(t, c.silences, c.records, c.servers...)
			got, err := m.judge(c.who)
			require.ErrorIs(t, err, c.err)
			if c.err != nil {
				return
			}
			require.Equal(t, []bool{c.put, c.add, c.vote}, []bool{got.put, got.add, got.record.GetVote()}, "put, add, vote")
			require.Equal(t, c.gone, got.gone.ID)
			require.Equal(t, c.inWay, got.inWay.ID)
		})
	}
}

// All voters must know the active version. A server without a vote was not asked when the version rose.
func TestOnlyAServerThatKnowsTheActiveVersionGetsAVote(t *testing.T) {
	t.Parallel()
	heir := serverOf("n3", "new", raft.Nonvoter)
	for name, c := range map[string]struct {
		info PeerInfo
		want []raft.ServerID
	}{
		"it knows it":                  {PeerInfo{AppliedIndex: 3, Knows: fsm.Version}, []raft.ServerID{heir.ID}},
		"its build is older":           {PeerInfo{AppliedIndex: 3, Knows: knownBefore}, nil},
		"its build says nothing of it": {PeerInfo{AppliedIndex: 3}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			records := []*logpb.ServerRecord{recordOf("n1", "1", true), recordOf("n2", "2", true), recordOf("n3", "new", true)}
			m := newMembership(t, silences{}, records, serverOf("n1", "1", raft.Voter), serverOf("n2", "2", raft.Voter), heir)
			var got []raft.ServerID
			m.raft, m.identify = voting{votes: &got}, answers{heir.ID: c.info}.identify
			synctest.Test(t, func(t *testing.T) {
				ready := steady{}
				m.promote(t.Context(), ready)
				require.Empty(t, got, "it has to stay caught up for a while")
				time.Sleep(steadyFor)
				m.promote(t.Context(), ready)
				require.Equal(t, c.want, got)
			})
		})
	}
}
