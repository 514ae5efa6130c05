package node

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/ticks"
)

// keepServers keeps the records of servers in step with Raft's configuration while this server
// leads, makes voters of those that are to become some, and raises the version of the log.
func (n *Node) keepServers(ctx context.Context) {
	for range ticks.Every(ctx, promoteEvery) {
		n.tidy(ctx)
		n.promote(ctx)
		n.raiseVersion(ctx)
		n.proposeLater(ctx)
	}
}

// recordSelf records where this server is, as the leader. It asks nobody.
func (n *Node) recordSelf(ctx context.Context) error {
	self := n.selfRecord()
	old := n.record(n.id.raftID())
	self.Vote = old.GetVote()
	if old != nil && sameRecord(old, self) {
		return nil
	}
	return n.put(ctx, self)
}

// tidy records this server, and forgets servers that have left.
func (n *Node) tidy(ctx context.Context) {
	unlock, err := n.lockMembers(ctx)
	if err != nil {
		return
	}
	defer unlock()
	servers, err := n.Servers()
	if err != nil {
		return
	}
	if err := n.recordSelf(ctx); err != nil {
		n.cfg.Logger.Debug("cannot record this server", "error", err)
		return
	}
	// One that is alone leads from wherever it is.
	if self, known := member(servers, n.id.raftID()); known && string(self.Address) != n.cfg.PeerAddr {
		err := n.raft.AddVoter(self.ID, raft.ServerAddress(n.cfg.PeerAddr), 0, askTimeout).Error()
		n.cfg.Logger.Info("this server has moved", "was", self.Address, "is", n.cfg.PeerAddr, "error", err)
	}
	for _, s := range n.state.Machine().Servers() {
		if _, known := member(servers, recordID(s)); known || n.owedVote(s.NodeId, servers) {
			continue
		}
		op := &logpb.DeleteServer{NodeId: s.NodeId, ServerId: s.ServerId}
		if _, err := n.Propose(ctx, &logpb.Op{Op: &logpb.Op_DeleteServer{DeleteServer: op}}); err != nil {
			n.cfg.Logger.Debug("cannot forget a server that has left", "server", recordID(s), "error", err)
			return
		}
	}
}

// promote makes a voter of a non-voter that has taken the place of one, and has caught up.
// Nobody else gets a vote unasked: each further voter makes the majority larger, and a
// server that was started by mistake, and stopped again, could cost a cluster that has lost
// one already.
func (n *Node) promote(ctx context.Context) {
	servers, err := n.Servers()
	if err != nil || !oneShort(servers) {
		return
	}
	for _, s := range servers {
		if s.Suffrage == raft.Voter || !n.record(s.ID).GetVote() {
			continue
		}
		info, err := n.identify(ctx, s.ID)
		if err != nil || info.AppliedIndex+caughtUp < n.state.Machine().AppliedIndex() {
			continue
		}
		unlock, err := n.lockMembers(ctx)
		if err != nil {
			return
		}
		err = n.raft.AddVoter(s.ID, s.Address, 0, askTimeout).Error()
		unlock()
		n.cfg.Logger.Info("a server that has caught up becomes a voter", "server", s.ID, "error", err)
		return // and look again at who votes
	}
}
