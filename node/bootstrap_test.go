package node

import (
	"context"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// founding is a raft that notes which cluster it is to make.
type founding struct {
	configuration
	made []raft.Server
}

func (f *founding) BootstrapCluster(c raft.Configuration) raft.Future {
	f.made = c.Servers
	done := newFuture()
	done.end(nil, nil)
	return done
}

// newServer is what one of three new servers says of itself.
func newServer(host, nodeID, serverID string) PeerInfo {
	p := movedTo(host, nodeID, serverID)
	p.ClusterID, p.BootstrapExpect = "", 3
	return p
}

// newJoiner is that of n1, which has no data yet and may make a cluster of three servers.
func newJoiner(t *testing.T, n *town, join ...string) (*joiner, *founding) {
	t.Helper()
	own := newServer("h1", "n1", "1")
	me := &self{id: own.RaftID(), nodeID: own.NodeID, serverID: own.ServerID, addr: own.Addr, peerAddr: own.PeerAddr, nonce: own.Nonce}
	m := newMembership(t, nil, nil)
	r := &founding{}
	d := &directory{self: me, raft: r, state: m.state, where: &whereabouts{}}
	return &joiner{
		self: me, raft: r, directory: d, expect: 3, info: func() PeerInfo { return own }, logger: silent,
		inquiry: &inquiry{self: me, directory: d, peers: n, join: join, learned: func(uint64, ...raft.ServerID) {}, logger: silent},
	}, r
}

func (j *joiner) try(ctx context.Context) (status string, err error) {
	peers, _ := j.look(ctx)
	return j.tryBootstrap(ctx, peers)
}

// A name in --join has more addresses while servers come. Two sets of servers that see themselves alone would be two
// clusters.
func TestANewClusterNeedsOneView(t *testing.T) {
	t.Parallel()
	n := &town{
		at: map[string]PeerInfo{"h2:7420": newServer("h2", "n2", "2"), "h3:7420": newServer("h3", "n3", "3")},
		meets: map[string]Met{
			"h2:7420": {Sees: []string{"n1/1", "n2/2", "n3/3"}},
			"h3:7420": {Sees: []string{"n2/2", "n3/3", "n4/4"}},
		},
	}
	j, r := newJoiner(t, n, "h2:7420", "h3:7420")
	status, err := j.try(t.Context())
	require.NoError(t, err)
	require.Equal(t, "waiting until n3 sees the same servers", status)
	require.Empty(t, r.made)
	require.Equal(t, []Place{{"n1/1", "h1:7420", "h1:7421"}, {"n2/2", "h2:7420", "h2:7421"}, {"n3/3", "h3:7420", "h3:7421"}}, n.meeting[0].Places)

	n.meets["h3:7420"] = n.meets["h2:7420"]
	status, err = j.try(t.Context())
	require.NoError(t, err)
	require.Equal(t, "bootstrapped", status)
	require.Len(t, r.made, 3)
}

// The join list of n1 has no server but n2, which sees n3 as well.
func TestANewServerHearsOfOthersFromOneThatIsNewToo(t *testing.T) {
	t.Parallel()
	n := &town{at: map[string]PeerInfo{"h2:7420": newServer("h2", "n2", "2"), "h3:7420": newServer("h3", "n3", "3")}}
	j, _ := newJoiner(t, n, "h2:7420")
	_, err := j.try(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"n1/1", "n2/2"}, j.seen())
	j.hear([]Place{NewPlace("n1/1", "h1:7420", "h1:7421"), NewPlace("n3/3", "h3:7420", "h3:7421"), NewPlace("n9/9", "", "")})
	_, err = j.try(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"n1/1", "n2/2", "n3/3"}, j.seen())

	// A cluster that somebody tells of is none of this server's.
	member := n.at["h3:7420"]
	member.Initialized = true
	n.at["h3:7420"] = member
	status, err := j.try(t.Context())
	require.NoError(t, err)
	require.Equal(t, "2 of 3 servers are there", status)
}
