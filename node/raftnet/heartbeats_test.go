package raftnet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
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
func joinedBy(t *testing.T, n *Node, id raft.ServerID) raftTransport {
	t.Helper()
	other, _ := serveRaft(t, id)
	require.Eventually(t, func() bool { _, ok := n.Ready(); return ok }, patience, time.Millisecond)
	require.NoError(t, n.raft.AddNonvoter(id, other.LocalAddr(), 0, patience).Error())
	return other
}

// A leader that hears of the next term is deposed before it can write anything: what it
// wrote under that term could stand at the same place as an entry of the term's own
// leader, and nobody would ever see the difference.
func TestADeposedLeaderWritesNothingUnderTheNextTerm(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	other := joinedBy(t, n, "n9/x")
	foreign := map[uint64]bool{}
	for i := range 20 {
		require.Eventually(t, func() bool { _, ok := n.Ready(); return ok }, patience, time.Millisecond)
		hb := heartbeatOf(other, n.raft.CurrentTerm()+1)
		foreign[hb.Term] = true
		var resp raft.AppendEntriesResponse
		require.NoError(t, other.AppendEntries(n.id.raftID(), listensAt(n), hb, &resp))
		require.Equal(t, hb.Term, resp.Term, "it has taken the next term over")
		done := make(chan struct{})
		// Its outcome depends on whether it leads again by then.
		n.ProposeAsync(submitOp(t, fmt.Sprint("k", i)), func(fsm.Result, error) { close(done) })
		<-done
	}
	stop(t, n)
	onLog(t, cfg.DataDir, func(log raft.LogStore) {
		first, err := log.FirstIndex()
		require.NoError(t, err)
		last, err := log.LastIndex()
		require.NoError(t, err)
		for i := first; i <= last; i++ {
			var entry raft.Log
			require.NoError(t, log.GetLog(i, &entry))
			require.False(t, foreign[entry.Term], "entry %d (%v) is of term %d, which another server led", i, entry.Type, entry.Term)
		}
	})
}

// gated is a log whose writes wait while the gate is closed.
type gated struct {
	*raft.InmemStore
	gate sync.RWMutex
}

func (g *gated) StoreLogs(logs []*raft.Log) error {
	g.gate.RLock()
	defer g.gate.RUnlock()
	return g.InmemStore.StoreLogs(logs)
}

// A follower whose disk is slow goes on to follow: its leader must not take it for dead.
// What would change anything waits all the same.
func TestHeartbeatsDoNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	log := &gated{InmemStore: raft.NewInmemStore()}
	cfg := config(t, t.TempDir())
	cfg.Stores = log
	n := start(t, cfg)
	other := joinedBy(t, n, "n9/x")
	send := func(r *raft.AppendEntriesRequest) (resp raft.AppendEntriesResponse, err error) {
		err = other.AppendEntries(n.id.raftID(), listensAt(n), r, &resp)
		return resp, err
	}
	term := n.raft.CurrentTerm() + 1
	entries := heartbeatOf(other, term)
	entries.PrevLogEntry, entries.PrevLogTerm = n.raft.LastIndex(), term-1
	entries.Entries = []*raft.Log{{Index: n.raft.LastIndex() + 1, Term: term, Type: raft.LogNoop}}
	log.gate.Lock()
	open := sync.OnceFunc(log.gate.Unlock)
	defer open()
	var sender sync.WaitGroup
	sender.Go(func() { _, _ = send(entries) }) // it is not answered in time
	require.Eventually(t, func() bool { return n.raft.CurrentTerm() == term }, patience, time.Millisecond)
	for range 3 {
		resp, err := send(heartbeatOf(other, term))
		require.NoError(t, err)
		require.True(t, resp.Success)
		require.Equal(t, term, resp.Term)
	}
	_, err := send(heartbeatOf(other, term+1))
	require.ErrorContains(t, err, "timeout", "a later term is for raft itself")
	require.Equal(t, term, n.raft.CurrentTerm())
	open()
	sender.Wait()
	require.Eventually(t, func() bool { return n.raft.CurrentTerm() > term }, patience, time.Millisecond)
}
