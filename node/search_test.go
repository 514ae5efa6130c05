package node

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// town is who answers at which gRPC address, and what it says when it is met.
type town struct {
	nobody
	mu      sync.Mutex
	at      map[string]PeerInfo
	meets   map[string]Met
	asked   map[string]int
	meeting []Meeting
}

func (n *town) Identify(_ context.Context, addr string) (PeerInfo, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked == nil {
		n.asked = map[string]int{}
	}
	n.asked[addr]++
	info, ok := n.at[addr]
	if !ok {
		return PeerInfo{}, errNobody
	}
	return info, nil
}

func (n *town) Probe(ctx context.Context, addr string) (PeerInfo, error) {
	return n.Identify(ctx, addr)
}

func (n *town) Meet(_ context.Context, addr string, m Meeting) (Met, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.meeting = append(n.meeting, m)
	met, ok := n.meets[addr]
	if !ok {
		return Met{}, errNobody
	}
	return met, nil
}

// movedTo is what a server says of itself that is on another host than it is recorded on.
func movedTo(host, nodeID, serverID string) PeerInfo {
	p := infoOf(nodeID, serverID)
	p.Addr, p.PeerAddr, p.Nonce, p.ClusterID = host+":7420", host+":7421", host, "c1"
	return p
}

// atHome is what a server says of itself that is where it is recorded.
func atHome(nodeID, serverID string) PeerInfo { return movedTo(nodeID, nodeID, serverID) }

// newSearch is that of n1, in a cluster of three servers that are recorded where nobody is.
func newSearch(t *testing.T, n *town, join ...string) *search {
	t.Helper()
	m := newMembership(t, nil, []*logpb.ServerRecord{recordOf("n1", "1", true), recordOf("n2", "2", true), recordOf("n3", "3", true)},
		serverOf("n1", "1", raft.Voter), serverOf("n2", "2", raft.Voter), serverOf("n3", "3", raft.Voter))
	data, err := fsm.EncodeEntry(fsm.Version, 4, []*logpb.Op{{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: "c1"}}}})
	require.NoError(t, err)
	_, err = applyEntry(m.state.Machine(), &raft.Log{Index: 4, Term: 1, Type: raft.LogCommand, Data: data})
	require.NoError(t, err)
	m.directory.where.record(m.state.Machine().Servers())
	return &search{
		self: m.self, raft: &aRaft{state: raft.Follower}, directory: m.directory, where: m.directory.where, logger: silent,
		inquiry: &inquiry{self: m.self, directory: m.directory, peers: n, join: join, learned: func(uint64, ...raft.ServerID) {}, logger: silent},
		info:    func() PeerInfo { return movedTo("h1", "n1", "1") },
	}
}

func TestServersAreFoundByTheirIds(t *testing.T) {
	t.Parallel()
	stranger := movedTo("h9", "n9", "9")
	foreign := movedTo("h3", "n3", "3")
	foreign.ClusterID = "another"
	n := &town{at: map[string]PeerInfo{"seed:7420": movedTo("h2", "n2", "2"), "h9:7420": stranger, "h3:7420": foreign}}
	s := newSearch(t, n, "seed:7420", "h9:7420")
	s.round(t.Context())
	n2 := infoOf("n2", "2").RaftID()
	require.Equal(t, map[raft.ServerID]place{n2: {"h2:7420", "h2:7421"}}, s.where.finds(), "no server that is not of the configuration")
	require.Equal(t, raft.ServerAddress("h2:7421"), s.where.peerAddr(n2, "n2:7421"))
	require.Equal(t, "h2:7420", s.directory.addrOf(n2))

	// It is back where it is recorded.
	delete(n.at, "seed:7420")
	n.at["n2:7420"] = atHome("n2", "2")
	s.round(t.Context())
	require.Empty(t, s.where.finds())
}

// A folder was copied, and both run. Whoever follows one of them may have two votes of one server.
func TestNeitherOfTwoProcessesOfAServerIsFound(t *testing.T) {
	t.Parallel()
	n := &town{at: map[string]PeerInfo{"h2:7420": movedTo("h2", "n2", "2"), "n2:7420": atHome("n2", "2")}}
	s := newSearch(t, n, "h2:7420")
	s.round(t.Context())
	require.Empty(t, s.where.finds())
	require.Empty(t, n.meeting)
}

// What others tell is a place to ask at, and no more.
func TestWhereServersAreToldToBeIsAsked(t *testing.T) {
	t.Parallel()
	told := []Place{NewPlace("n3/3", "h3:7420", "h3:7421"), NewPlace("n9/9", "h9:7420", "h9:7421"), NewPlace("n2/2", "", "")}
	n := &town{
		at:    map[string]PeerInfo{"h2:7420": movedTo("h2", "n2", "2"), "h3:7420": movedTo("h3", "n3", "3")},
		meets: map[string]Met{"h2:7420": {Found: true, Places: told}, "h3:7420": {Found: false}},
	}
	s := newSearch(t, n, "h2:7420")
	s.round(t.Context())
	n2, n3 := infoOf("n2", "2").RaftID(), infoOf("n3", "3").RaftID()
	require.NotContains(t, s.where.finds(), n3)
	require.True(t, s.where.isFoundBy(n2))
	s.round(t.Context())
	require.Equal(t, place{"h3:7420", "h3:7421"}, s.where.finds()[n3])
	require.False(t, s.where.isFoundBy(n3))
	require.Zero(t, n.asked["h9:7420"], "it is no member")
	require.Equal(t, "h1:7420", n.meeting[0].From.Addr)
	require.Len(t, s.places(), 2)
}

func TestAServerIsAskedBackBeforeItIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &town{at: map[string]PeerInfo{}}
		s := newSearch(t, n)
		r := &reception{search: s, probe: n.Probe}
		says := movedTo("h2", "n2", "2")
		met, err := r.meet(t.Context(), Meeting{From: says})
		require.NoError(t, err)
		require.False(t, met.Found, "nobody is there")

		other := says
		other.Nonce = "another process"
		n.at["h2:7420"] = other
		met, err = r.meet(t.Context(), Meeting{From: says})
		require.NoError(t, err)
		require.False(t, met.Found, "somebody else is there")
		require.Empty(t, s.where.finds())

		n.at["h2:7420"] = says
		before := n.asked["h2:7420"]
		for range 100 {
			met, err = r.meet(t.Context(), Meeting{From: says})
			require.NoError(t, err)
			require.True(t, met.Found)
		}
		require.Equal(t, before+1, n.asked["h2:7420"], "it is not asked back each time")
		require.Equal(t, place{"h2:7420", "h2:7421"}, s.where.finds()[says.RaftID()])
		time.Sleep(askBackAgain)
		delete(n.at, "h2:7420")
		met, err = r.meet(t.Context(), Meeting{From: says})
		require.NoError(t, err)
		require.False(t, met.Found)
	})
}

func TestWhoIsNotMet(t *testing.T) {
	t.Parallel()
	n := &town{at: map[string]PeerInfo{}}
	s := newSearch(t, n)
	r := &reception{search: s, probe: n.Probe}
	nowhere := infoOf("n2", "2")
	nowhere.PeerAddr = ""
	for name, c := range map[string]struct {
		m   Meeting
		err error
	}{
		"it is no member":             {Meeting{From: movedTo("h9", "n9", "9")}, task.ErrConflict},
		"it has lost its data":        {Meeting{From: movedTo("h2", "n2", "new")}, task.ErrConflict},
		"it is this server":           {Meeting{From: movedTo("h1", "n1", "1")}, task.ErrConflict},
		"it says nothing of itself":   {Meeting{From: nowhere}, task.ErrInvalid},
		"it tells of too many others": {Meeting{From: infoOf("n2", "2"), Places: make([]Place, maxPlaces+1)}, task.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := r.meet(t.Context(), c.m)
			require.ErrorIs(t, err, c.err)
		})
	}
	require.Empty(t, n.asked)
}
