package raftnet

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// fakeView is the clusterView of a server that needs no raft.
type fakeView struct {
	ids     []raft.ServerID
	follows raft.ServerID
	at      uint64
}

func (s *fakeView) members() (out []raft.Server) {
	for _, id := range s.ids {
		out = append(out, raft.Server{ID: id})
	}
	return out
}

func (s *fakeView) leader() raft.ServerID { return s.follows }
func (s *fakeView) term() uint64          { return s.at }

// newTestAdmission returns the admission of a server of the cluster "c". It calls ask about servers that it does not
// know.
func newTestAdmission(t *testing.T, self raft.ServerID, ask func(v *knownServers)) *admission {
	t.Helper()
	v := newKnownServers(nil)
	v.ask = func(context.Context) { ask(v) }
	a := newAdmission(self, func() string { return "c" }, v, newRefusals(slog.New(slog.DiscardHandler)))
	t.Cleanup(func() {
		v.close()
		a.refusals.close()
	})
	return a
}

// openAdmission is the admission of a server that knows every server of these tests.
func openAdmission(t *testing.T, self raft.ServerID) *admission {
	t.Helper()
	a := newTestAdmission(t, self, func(*knownServers) {})
	a.cluster = func() string { return "" }
	a.open(&fakeView{ids: []raft.ServerID{"leader", "follower", "b", "n1/old", "n1/a", "n2/b", "n2/new", "n9/x"}})
	return a
}

func TestServersOfTheConfigurationAreAdmitted(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(t, "n1/a", func(*knownServers) {})
	require.ErrorIs(t, a.checkSender("n2/b"), errNotOpen)
	a.open(&fakeView{ids: []raft.ServerID{"n1/a", "n2/b"}, follows: "n3/c"})
	hello := func(meant, from raft.ServerID, cluster string) error {
		return a.admit(t.Context(), handshake{meant: meant, from: from, cluster: cluster})
	}
	require.NoError(t, hello("n1/a", "n2/b", "c"))
	require.NoError(t, hello("n1/a", "n2/b", ""), "it does not know its cluster yet")
	require.NoError(t, hello("n1/a", "n3/c", "c"), "a leader that is being removed is followed until it is gone")
	require.ErrorContains(t, hello("n1/lost", "n2/b", "c"), "lost its data folder")
	require.ErrorIs(t, hello("n1/a", "n1/a", "c"), errOurselves)
	require.ErrorIs(t, hello("n1/a", "n2/b", "d"), errOtherCluster)
	require.ErrorIs(t, hello("n1/a", "n4/d", "c"), errUnknownSender)
	require.ErrorIs(t, hello("n1/a", "", "c"), errUnknownSender)
	require.ErrorIs(t, a.checkSender("n4/d"), errUnknownSender)
	require.ErrorIs(t, a.checkSender("n1/a"), errOurselves)
	require.NoError(t, a.checkSender("n3/c"))
}

// A follower that missed a change of the configuration listens to the leader which that change brought, if a server
// that it knows vouches for it.
func TestAServerIsAdmittedOnTheWordOfAKnownServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		a := newTestAdmission(t, "n1/a", func(v *knownServers) {
			asked.Add(1)
			time.Sleep(10 * time.Millisecond)
			v.learn(7, "n4/d", "n5/e")
		})
		a.open(&fakeView{ids: []raft.ServerID{"n1/a", "n2/b"}, at: 7})
		hello := handshake{meant: "n1/a", from: "n4/d"}
		require.NoError(t, a.admit(t.Context(), hello))
		require.NoError(t, a.checkSender("n4/d"))
		require.NoError(t, a.checkSender("n5/e"))
		require.ErrorIs(t, a.checkSender("n6/f"), errUnknownSender)
		require.EqualValues(t, 1, asked.Load())

		time.Sleep(knownFor/2 + time.Second)
		require.NoError(t, a.checkSender("n4/d"), "it is asked for anew in time")
		synctest.Wait()
		require.EqualValues(t, 2, asked.Load())
		time.Sleep(knownFor + time.Second)
		require.ErrorIs(t, a.checkSender("n4/d"), errUnknownSender, "what was said long ago counts no more")
	})
}

// However many strangers connect, this server asks the servers of the cluster once a second.
func TestStrangersDoNotMakeAServerAskWithoutPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		a := newTestAdmission(t, "n1/a", func(*knownServers) { asked.Add(1) })
		a.open(&fakeView{ids: []raft.ServerID{"n1/a", "n2/b"}})
		for range 10_000 {
			require.ErrorIs(t, a.admit(t.Context(), handshake{meant: "n1/a", from: "n9/x"}), errUnknownSender)
			require.Error(t, a.checkTerm(math.MaxUint64))
			time.Sleep(time.Millisecond)
		}
		require.LessOrEqual(t, asked.Load(), int32(11))
	})
}

func TestAbsurdTermsAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		far := uint64(1 << 40)
		a := newTestAdmission(t, "n1/a", func(v *knownServers) { v.learn(far) })
		a.open(&fakeView{at: 100})
		require.NoError(t, a.checkTerm(1))
		require.NoError(t, a.checkTerm(100+maxTermLeap))
		require.Error(t, a.checkTerm(100+maxTermLeap+1))
		synctest.Wait()
		// A server that was away for long: the others say how far they are.
		require.NoError(t, a.checkTerm(far+1))
		require.Error(t, a.checkTerm(far+maxTermLeap+1))
		require.Error(t, a.checkTerm(math.MaxUint64))
	})
}

func TestKnownServersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newKnownServers(nil)
		defer v.close()
		name := func(i int) raft.ServerID { return raft.ServerID(rune('a' + i)) }
		for i := range 10 * maxKnown {
			v.learn(1, name(i))
		}
		require.Len(t, v.seen, maxKnown)
		require.True(t, v.know(name(0)))
		time.Sleep(knownFor + time.Second)
		v.learn(1, name(10*maxKnown))
		require.Len(t, v.seen, 1)
	})
}

// Raft takes over any term that it hears of. With the last possible one there is none left to elect a
// leader in.
func TestRaftDoesNotHearOfAnAbsurdTerm(t *testing.T) {
	t.Parallel()
	s := newLeader(t, raft.NewInmemStore())
	other := joinedBy(t, s, "n9/x")
	vote := &raft.RequestVoteRequest{RPCHeader: heartbeatOf(other, 0).RPCHeader, Term: math.MaxUint64, LeadershipTransfer: true}
	require.Error(t, other.RequestVote(s.id, s.at, vote, &raft.RequestVoteResponse{}))
	s.waitReady(t)
	require.Less(t, s.CurrentTerm(), uint64(maxTermLeap))
}

// lines is a logger that keeps what it is given.
type lines struct {
	slog.Handler
	mu  sync.Mutex
	all []slog.Record
}

func newLines() *lines { return &lines{Handler: slog.DiscardHandler} }

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
	return nil
}

// attr returns the value of an attribute of a line.
func attr(r slog.Record, name string) (v slog.Value) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == name {
			v = a.Value
		}
		return a.Key != name
	})
	return v
}

func TestARefusedPeerHasALineAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLines()
		r := newRefusals(slog.New(log))
		defer r.close()
		for range 3000 {
			r.note("10.0.0.9", "n9/x", errUnknownSender)
			time.Sleep(100 * time.Millisecond)
		}
		r.note("10.0.0.8", "n8/x", errUnknownSender)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 3001, r.total.Load())
		require.Len(t, log.all, 7, "one at once, one a minute for five minutes, and one of the other")
		total := int64(0)
		for _, l := range log.all {
			total += attr(l, "count").Int64()
		}
		require.EqualValues(t, 3001, total, "none is left out")
		require.Empty(t, r.peers)

		for i := range 10 * maxRefused {
			r.note(string(rune('a'+i)), "", errors.New("it is nobody"))
		}
		require.LessOrEqual(t, len(r.peers), maxRefused+1)
	})
}

// The leader sends nearly all messages, so letting them in must take no memory.
func BenchmarkCheckRequest(b *testing.B) {
	a := newAdmission("n1/a", func() string { return "" }, newKnownServers(nil), newRefusals(slog.New(slog.DiscardHandler)))
	defer a.refusals.close()
	a.open(&fakeView{ids: []raft.ServerID{"n1/a", "n2/b", "n3/c"}, follows: "n2/b"})
	rpc := raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: headerOf("n2/b"), Term: 1}}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.checkRequest(rpc); err != nil {
			b.Fatal(err)
		}
	}
}

// Others vouch for a server for a minute. It may be removed meanwhile.
func TestARemovedServerIsNotHeardWhoeverKnowsIt(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(t, "n1/a", func(v *knownServers) { v.learn(3, "n3/c") })
	removed := false
	a.removed = func(id raft.ServerID) bool { return removed && id == "n3/c" }
	members := &fakeView{ids: []raft.ServerID{"n1/a", "n2/b"}}
	a.open(members)
	hello := handshake{meant: "n1/a", from: "n3/c", cluster: "c"}
	require.NoError(t, a.admit(t.Context(), hello))
	removed = true
	require.ErrorIs(t, a.admit(t.Context(), hello), errRemoved)
	require.ErrorIs(t, a.checkSender("n3/c"), errRemoved)
	members.ids = append(members.ids, "n3/c")
	require.NoError(t, a.admit(t.Context(), hello), "the configuration has it still: its vote may be needed")
}
