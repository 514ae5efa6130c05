package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func newLeaders(r leaderSource) *leaders {
	return &leaders{
		raft: r, diskFull: func() bool { return false }, electionTimeout: time.Second,
		votes:  func(id raft.ServerID) bool { return id != fourServers[2].ID },
		addrOf: func(id raft.ServerID) string { return "at " + string(id) },
	}
}

// elected is a raft in which the next leader is elected between two looks at it.
type elected struct{ aRaft }

func (e *elected) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	if e.term == 1 {
		e.term, e.leader = 2, fourServers[1].ID
		return "", fourServers[0].ID
	}
	return "", e.leader
}

// Others decide by the term which news is newer.
func TestALeaderIsNotToldOfUnderTheTermOfAnotherOne(t *testing.T) {
	t.Parallel()
	l := newLeaders(&elected{aRaft{term: 1}})
	require.Equal(t, Leader{Term: 2, NodeID: "n2", Addr: "at n2/b"}, l.current())
}

// Anybody can become a server without a vote, and say that it leads.
func TestAServerWithoutAVoteIsNoLeader(t *testing.T) {
	t.Parallel()
	r := &aRaft{term: 1, leader: fourServers[2].ID}
	l := newLeaders(r)
	require.Equal(t, Leader{Term: 1}, l.current())
	require.ErrorContains(t, l.notLeader(), "no leader is elected; try again")
	l.diskFull = func() bool { return true }
	require.ErrorContains(t, l.notLeader(), "the disk of this server is full")
	r.leader = fourServers[3].ID
	var e *task.Error
	require.ErrorAs(t, l.notLeader(), &e)
	require.Equal(t, "at n4/d", e.Leader)
}

func TestAServerIsLeaderlessAfterSomeElections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLeaders(&aRaft{})
		require.False(t, l.leaderless(), "it has not looked yet")
		l.note(Leader{})
		time.Sleep(leaderlessFactor * time.Second)
		l.note(Leader{})
		require.False(t, l.leaderless())
		time.Sleep(time.Nanosecond)
		require.True(t, l.leaderless())
		l.note(Leader{Term: 1, NodeID: "n1"})
		require.False(t, l.leaderless())
	})
}

// A leader that is lost and elected again leads in another term, so that counts as well.
func TestChangesOfLeadersAreCounted(t *testing.T) {
	t.Parallel()
	l := newLeaders(&aRaft{})
	for _, now := range []Leader{
		{}, {Term: 1, NodeID: "n1"}, {Term: 1, NodeID: "n1", Addr: "127.0.0.1:1"}, {Term: 2}, {Term: 2, NodeID: "n1"}, {Term: 2, NodeID: "n1"}, {Term: 3, NodeID: "n2"},
	} {
		l.note(now)
	}
	require.EqualValues(t, 3, l.changes.Load())
}
