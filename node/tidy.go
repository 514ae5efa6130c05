package node

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/node/raftnet"
)

const (
	// promoteEvery is how often the leader looks for non-voters that have caught up, and for
	// records that are out of date.
	promoteEvery = 500 * time.Millisecond
	// caughtUp is how many entries a server may be behind and count as up to date.
	caughtUp = 1000
)

// keep keeps the records of servers in step with Raft's configuration while this server
// leads, gives votes to servers that have to get one, and raises the version of the log.
func (m *membership) keep(ctx context.Context) {
	ready := steady{}
	for range ticks.Every(ctx, promoteEvery) {
		m.tidy(ctx)
		m.promote(ctx, ready)
		m.version.raise(ctx)
		proposeLater(ctx, m.propose, m.logger)
	}
}

// recordSelf records where this server is, as the leader. It asks nobody. A leader that is being removed leads until it
// has handed over, and is not recorded any more.
func (m *membership) recordSelf(ctx context.Context) error {
	if m.wasRemoved(m.self.id) {
		return nil
	}
	self := m.self.record()
	old := m.directory.record(m.self.id)
	self.Vote = old.GetVote()
	if old != nil && sameRecord(old, self) {
		return nil
	}
	return m.put(ctx, self)
}

// tidy records this server, forgets servers that have left, and goes on with removals.
func (m *membership) tidy(ctx context.Context) {
	unlock, err := m.lock.enter(ctx)
	if err != nil {
		return
	}
	defer unlock()
	servers, err := m.directory.servers()
	if err != nil {
		return
	}
	if err := m.recordSelf(ctx); err != nil {
		m.logger.Debug("cannot record this server", "error", err)
		return
	}
	m.moveSelf(servers)
	m.finishRemovals(ctx, servers)
	for _, s := range m.state.Machine().Servers() {
		if _, known := member(servers, recordID(s)); known || m.owedVote(s.NodeId, servers) {
			continue
		}
		op := &logpb.DeleteServer{NodeId: s.NodeId, ServerId: s.ServerId}
		if _, err := m.propose(ctx, &logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: op}}); err != nil {
			m.logger.Debug("cannot forget a server that has left", "server", recordID(s), "error", err)
			return
		}
	}
}

// moveSelf puts the address of this server into Raft's configuration. It leads from wherever it is if it is alone, or
// if the others have found it there.
func (m *membership) moveSelf(servers []raft.Server) {
	self, known := member(servers, m.self.id)
	if !known || string(self.Address) == m.self.peerAddr {
		return
	}
	own := PeerInfo{NodeID: m.self.nodeID, ServerID: m.self.serverID, PeerAddr: m.self.peerAddr}
	for _, s := range servers {
		if string(s.Address) != m.self.peerAddr {
			continue
		}
		if !m.isElsewhere(s, own) {
			m.logger.Debug("another server seems to be at the Raft address of this one", "server", s.ID, "peer_addr", s.Address)
			return
		}
		if err := m.makeWay(s); err != nil {
			m.logger.Debug("cannot take the Raft address of this server from another one", "server", s.ID, "error", err)
			return
		}
	}
	err := m.raft.AddVoter(self.ID, raft.ServerAddress(m.self.peerAddr), 0, askTimeout).Error()
	m.logger.Info("this server has moved", "was", self.Address, "is", m.self.peerAddr, "error", err)
}

// finishRemovals takes servers out of Raft's configuration that a leader before this one has noted as removed. It
// waits if that would cost the majority.
func (m *membership) finishRemovals(ctx context.Context, servers []raft.Server) {
	for _, s := range servers {
		if !m.wasRemoved(s.ID) {
			continue
		}
		nodeID := raftnet.NodeID(s.ID)
		var err error
		if s.Suffrage == raft.Voter {
			_, err = m.mayLoseVote(ctx, "removing", servers, s, false)
		}
		if err == nil {
			_, err = m.takeOut(s.ID)
		}
		if err != nil {
			err = fmt.Errorf("it is being removed, and that has to wait: %w", err)
		}
		_ = m.joins.refused(nodeID, true, err) // so status shows it
		m.logger.Info("a removal goes on", "server", s.ID, "error", err)
		return // and look again at who is there
	}
}

// promote makes a voter of a non-voter that is to vote, and has caught up and stayed so. No other server gets a
// vote by itself: each further voter makes the majority larger. A server that was started by mistake, and stopped
// again, could cost a cluster its majority that has lost one server already.
func (m *membership) promote(ctx context.Context, ready steady) {
	servers, err := m.directory.servers()
	if err != nil {
		return
	}
	for _, s := range servers {
		if s.Suffrage == raft.Voter || !m.directory.record(s.ID).GetVote() {
			continue
		}
		why := m.behind(ctx, s.ID)
		if why != "" {
			m.logger.Debug("a server gets no vote yet", "server", s.ID, "why", why)
		}
		if ready.stayed(s.ID, why == "") {
			m.giveVote(ctx, s)
			return // and look again at who votes
		}
	}
}

// giveVote makes a voter of a server, unless it is not to vote any more.
func (m *membership) giveVote(ctx context.Context, s raft.Server) {
	unlock, err := m.lock.enter(ctx)
	if err != nil {
		return
	}
	defer unlock()
	servers, err := m.directory.servers()
	if err != nil {
		return
	}
	at, known := member(servers, s.ID)
	if !known || !m.directory.record(s.ID).GetVote() {
		return // an operator was faster
	}
	// Once more, because the version of the log may have risen meanwhile: voters have to know it.
	if m.behind(ctx, s.ID) != "" {
		return
	}
	err = m.raft.AddVoter(at.ID, at.Address, 0, askTimeout).Error()
	m.logger.Info("a server that has caught up becomes a voter", "server", s.ID, "error", err)
}
