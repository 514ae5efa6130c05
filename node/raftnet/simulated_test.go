package raftnet

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// newSimulated starts a server without a network, in a bubble of testing/synctest. Connect it to the
// others by the transport that it returns.
func newSimulated(t *testing.T, id raft.ServerID, at raft.ServerAddress, timeout time.Duration, edit ...func(*Config)) (*testServer, *raft.InmemTransport) {
	t.Helper()
	_, base := raft.NewInmemTransport(at)
	s := &testServer{id: id, at: at}
	cfg := Config{
		Self: id, Addr: string(at), Base: base, ClusterID: func() string { return "" }, Ask: func(context.Context) {},
		ElectionTimeout: timeout, Logger: slog.New(slog.DiscardHandler),
	}
	for _, e := range edit {
		e(&cfg)
	}
	s.net = New(cfg)
	s.start(t, raft.NewInmemStore(), timeout)
	return s, base
}

// A server that has moved reaches the others and would win their votes. They would then follow a
// leader of whom they do not know where it is. Where its address is the one that they know, or a majority has
// found it, it wins.
func TestAServerThatHasMovedAsksForNoVotes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		known raft.ServerAddress
		found bool
		wins  bool
	}{
		"it has moved":                           {"two before", false, false},
		"it has moved, and others have found it": {"two before", true, true},
		"it is where others know it":             {"two", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				voter, one := newSimulated(t, "n1/a", "one", time.Hour) // it does not campaign itself
				candidate, two := newSimulated(t, "n2/b", "two", testTimeout, func(cfg *Config) {
					cfg.FoundBy = func(id raft.ServerID) bool { return tc.found && id == "n1/a" }
				})
				one.Connect("two", two)
				two.Connect("one", one)
				both := raft.Configuration{Servers: []raft.Server{{ID: voter.id, Address: voter.at}, {ID: candidate.id, Address: tc.known}}}
				require.NoError(t, voter.BootstrapCluster(both).Error())
				require.NoError(t, candidate.BootstrapCluster(both).Error())
				time.Sleep(time.Minute)
				require.Equal(t, tc.wins, candidate.State() == raft.Leader)
			})
		})
	}
}

// followerOf is a server that follows a leader, which the test plays. Its watch runs only when the test tells it to.
type followerOf struct {
	*testServer
	t             *testing.T
	leader, rival *raft.InmemTransport
	watch         *leaderWatch
}

// leaderTerm is the term of a test's leader.
const leaderTerm = 7

// newFollowerOf starts a server that has not heard from its leader yet. A third server is its rival.
func newFollowerOf(t *testing.T, id raft.ServerID) *followerOf {
	t.Helper()
	s, one := newSimulated(t, id, "one", testTimeout)
	f := &followerOf{testServer: s, t: t, watch: s.net.watch.Load()}
	_, f.leader = raft.NewInmemTransport("nine")
	_, f.rival = raft.NewInmemTransport("five")
	one.Connect("nine", f.leader)
	f.leader.Connect("one", one)
	f.rival.Connect("one", one)
	require.NoError(t, s.BootstrapCluster(raft.Configuration{Servers: []raft.Server{
		{ID: s.id, Address: s.at}, {ID: "n9/x", Address: "nine"}, {ID: "n5/x", Address: "five"},
	}}).Error())
	f.watch.last = time.Now()
	return f
}

// runs makes the server run for a number of looks at its leader, which is silent or not.
func (f *followerOf) runs(looks int, silent bool) {
	f.t.Helper()
	for range looks {
		if !silent {
			var resp raft.AppendEntriesResponse
			require.NoError(f.t, f.leader.AppendEntries(f.id, f.at, heartbeatOf(f.leader, leaderTerm), &resp))
			require.True(f.t, resp.Success)
		}
		f.watch.look()
		time.Sleep(testTimeout / looksPerTimeout)
	}
	synctest.Wait()
}

// asks makes a rival ask for a pre-vote, with a log as long as the server's.
func (f *followerOf) asks(rival raft.ServerID) (granted bool) {
	f.t.Helper()
	r := &raft.RequestPreVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(rival), Addr: []byte("five")},
		Term:      f.CurrentTerm() + 1, LastLogIndex: f.LastIndex(), LastLogTerm: 1,
	}
	var resp raft.RequestPreVoteResponse
	if err := f.rival.RequestPreVote(f.id, f.at, r, &resp); err != nil {
		require.ErrorIs(f.t, err, errRival)
		return false
	}
	return resp.Granted
}

// On a busy machine a server and its leader are not run for a while, both at once. Raft's own timer
// has run out by then, and the leader's messages lie unread. With the watch the server listens first.
// A leader that is silent while the server runs is lost all the same.
func TestAServerThatWasNotRunListensToItsLeaderFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFollowerOf(t, "n1/a")
		f.runs(3*looksPerTimeout, false)
		require.Equal(t, raft.Follower, f.State())

		time.Sleep(5 * testTimeout / 2) // neither is run
		synctest.Wait()
		require.Equal(t, raft.Follower, f.State(), "it campaigns against a leader whose messages it has not read")
		f.watch.look()
		f.runs(3*looksPerTimeout, false)
		require.Equal(t, raft.Follower, f.State())
		require.EqualValues(t, leaderTerm, f.CurrentTerm())

		f.runs(2*looksPerTimeout, true)
		require.Equal(t, raft.Candidate, f.State(), "its leader is silent, and it waits")
	})
}

// Raft refuses its vote while it has a leader. So the first server that campaigns would be refused by
// those that are a moment behind.
func TestASilentLeaderIsGivenUpWhenACandidateAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFollowerOf(t, "n6/a")
		f.runs(3*looksPerTimeout, false)
		require.False(t, f.asks("n5/x"), "its leader is not silent")
		f.runs(looksPerTimeout+1, true)
		require.Equal(t, raft.Follower, f.State(), "it does not campaign itself yet")
		require.True(t, f.asks("n5/x"))
	})
}

// Raft grants a pre-vote to everybody who asks. Two equal candidates would then split the votes.
func TestOneOfTwoEqualCandidatesYields(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFollowerOf(t, "n6/a")
		f.runs(3*looksPerTimeout, false)
		f.runs(looksPerTimeout+1, true)
		require.True(t, f.asks("n5/x"))
		require.False(t, f.asks("n9/x"))
		require.True(t, f.asks("n5/x"))
	})
}

// Raft itself waits for up to ten seconds before it sends entries to a server that was away for long.
func TestEntriesReachAServerThatIsBackAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		leader, one := newSimulated(t, "n1/a", "one", testTimeout)
		follower, two := newSimulated(t, "n2/b", "two", testTimeout)
		require.NoError(t, leader.BootstrapCluster(raft.Configuration{Servers: []raft.Server{
			{ID: leader.id, Address: leader.at}, {ID: follower.id, Address: follower.at, Suffrage: raft.Nonvoter},
		}}).Error())
		leader.waitReady(t)
		follower.net.Learn(1, leader.id) // it has no configuration yet
		for round := range 4 {
			// It is away. Raft by itself has tried after twenty seconds, and tries again after thirty.
			time.Sleep(25 * time.Second)
			require.NoError(t, leader.Barrier(patience).Error())
			one.Connect("two", two)
			two.Connect("one", one)
			for back := time.Now(); follower.LastIndex() < leader.LastIndex(); time.Sleep(time.Millisecond) {
				require.Less(t, time.Since(back), time.Second, "absence %d: it has %d of %d", round, follower.LastIndex(), leader.LastIndex())
			}
			one.Disconnect("two")
			two.Disconnect("one")
		}
	})
}
