package raftnet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// heartbeatOf is a heartbeat of a leader called n9.
func heartbeatOf(tr raft.Transport, term uint64) *raft.AppendEntriesRequest {
	self := tr.EncodePeer("n9/x", tr.LocalAddr())
	return &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("n9/x"), Addr: self},
		Term:      term,
	}
}

// joinedBy returns the transport of a server that a cluster has just taken in.
func joinedBy(t *testing.T, s *testServer, id raft.ServerID) Base {
	t.Helper()
	other, _ := serveRaft(t, id)
	require.NoError(t, s.AddNonvoter(id, other.LocalAddr(), 0, patience).Error())
	return other
}

// A leader that hears of the next term is deposed before it can write anything: what it
// wrote under that term could stand at the same place as an entry of the term's own
// leader, and nobody would ever see the difference.
func TestADeposedLeaderWritesNothingUnderTheNextTerm(t *testing.T) {
	t.Parallel()
	log := raft.NewInmemStore()
	s := newLeader(t, log)
	other := joinedBy(t, s, "n9/x")
	foreign := map[uint64]bool{}
	for i := range 20 {
		s.waitReady(t)
		hb := heartbeatOf(other, s.CurrentTerm()+1)
		foreign[hb.Term] = true
		var resp raft.AppendEntriesResponse
		require.NoError(t, other.AppendEntries(s.id, s.at, hb, &resp))
		require.Equal(t, hb.Term, resp.Term, "it has taken the next term over")
		// Its outcome depends on whether it leads again by then.
		_ = s.Apply([]byte(fmt.Sprint("k", i)), patience).Error()
	}
	s.end()
	first, err := log.FirstIndex()
	require.NoError(t, err)
	last, err := log.LastIndex()
	require.NoError(t, err)
	for i := first; i <= last; i++ {
		var entry raft.Log
		require.NoError(t, log.GetLog(i, &entry))
		require.False(t, foreign[entry.Term], "entry %d (%v) is of term %d, which another server led", i, entry.Type, entry.Term)
	}
}

// slowLog is a log whose writes wait while it is locked.
type slowLog struct {
	*raft.InmemStore
	writes sync.RWMutex
}

func (l *slowLog) StoreLogs(logs []*raft.Log) error {
	l.writes.RLock()
	defer l.writes.RUnlock()
	return l.InmemStore.StoreLogs(logs)
}

// A follower whose disk is slow goes on to follow: its leader must not take it for dead.
// A message that would change something still waits.
func TestHeartbeatsDoNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	log := &slowLog{InmemStore: raft.NewInmemStore()}
	s := newLeader(t, log)
	other := joinedBy(t, s, "n9/x")
	send := func(r *raft.AppendEntriesRequest) (resp raft.AppendEntriesResponse, err error) {
		err = other.AppendEntries(s.id, s.at, r, &resp)
		return resp, err
	}
	term := s.CurrentTerm() + 1
	entries := heartbeatOf(other, term)
	entries.PrevLogEntry, entries.PrevLogTerm = s.LastIndex(), term-1
	entries.Entries = []*raft.Log{{Index: s.LastIndex() + 1, Term: term, Type: raft.LogNoop}}
	log.writes.Lock()
	open := sync.OnceFunc(log.writes.Unlock)
	defer open()
	var sender sync.WaitGroup
	sender.Go(func() { _, _ = send(entries) }) // it is not answered in time
	require.Eventually(t, func() bool { return s.CurrentTerm() == term }, patience, time.Millisecond)
	for range 3 {
		resp, err := send(heartbeatOf(other, term))
		require.NoError(t, err)
		require.True(t, resp.Success)
		require.Equal(t, term, resp.Term)
	}
	_, err := send(heartbeatOf(other, term+1))
	require.ErrorContains(t, err, "timeout", "a later term is for raft itself")
	require.Equal(t, term, s.CurrentTerm())
	open()
	sender.Wait()
	require.Eventually(t, func() bool { return s.CurrentTerm() > term }, patience, time.Millisecond)
}
