package node

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/ticks"
)

const (
	// promoteEvery is how often the leader looks for non-voters that have caught up, and for
	// records that are out of date.
	promoteEvery = 500 * time.Millisecond
	// caughtUp is how many entries a non-voter may be behind to become a voter.
	caughtUp = 1000
)

// keep keeps the records of servers in step with Raft's configuration while this server
// leads, gives votes to servers that have to get one, and raises the version of the log.
func (m *membership) keep(ctx context.Context) {
	for range ticks.Every(ctx, promoteEvery) {
		m.tidy(ctx)
		m.promote(ctx)
		m.version.raise(ctx)
		proposeLater(ctx, m.propose, m.logger)
	}
}

// recordSelf records where this server is, as the leader. It asks nobody.
func (m *membership) recordSelf(ctx context.Context) error {
	self := m.self.record()
	old := m.directory.record(m.self.id)
	self.Vote = old.GetVote()
	if old != nil && sameRecord(old, self) {
		return nil
	}
	return m.put(ctx, self)
}

// tidy records this server, and removes the records of servers that have left.
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

// promote makes a voter of a non-voter that has taken the place of a voter, and has caught up.
// No other server gets a vote by itself: each further voter makes the majority larger. A
// server that was started by mistake, and stopped again, could cost a cluster its majority
// that has lost one server already.
func (m *membership) promote(ctx context.Context) {
	servers, err := m.directory.servers()
	if err != nil || !oneShort(servers) {
		return
	}
	for _, s := range servers {
		if s.Suffrage == raft.Voter || !m.directory.record(s.ID).GetVote() {
			continue
		}
		info, err := m.identify(ctx, s.ID)
		if err != nil || info.AppliedIndex+caughtUp < m.state.Machine().AppliedIndex() {
			continue
		}
		// Voters know the active version. This one was not asked when that rose.
		if err := checkKnows(&info, m.state.Machine().ActiveVersion()); err != nil {
			m.logger.Debug("a server that has caught up gets no vote", "server", s.ID, "error", err)
			continue
		}
		unlock, err := m.lock.enter(ctx)
		if err != nil {
			return
		}
		err = m.raft.AddVoter(s.ID, s.Address, 0, askTimeout).Error()
		unlock()
		m.logger.Info("a server that has caught up becomes a voter", "server", s.ID, "error", err)
		return // and look again at who votes
	}
}
