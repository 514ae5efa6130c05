package node

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/task"
)

const (
	// promoteEvery is how often the leader looks for non-voters that have caught up.
	promoteEvery = 500 * time.Millisecond
	// caughtUp is how many entries a non-voter may be behind to become a voter.
	caughtUp = 1000
)

// AddServer takes a server in, as the leader: as a non-voter first. Asking twice
// changes nothing. A server that lost its data folder gets the place of its old
// identity, unless that one is alive: then two servers have one node id.
func (n *Node) AddServer(ctx context.Context, p PeerInfo) (voter bool, err error) {
	if err := n.CheckLeader(); err != nil {
		return false, err
	}
	servers, err := n.Servers()
	if err != nil {
		return false, err
	}
	id := raftID(p.NodeID, p.ServerID)
	for _, s := range servers {
		switch {
		case s.ID == id:
			return s.Suffrage == raft.Voter, nil
		case nodeIDOf(s.ID) == p.NodeID || s.Address == raft.ServerAddress(p.PeerAddr):
			if n.alive(ctx, s) {
				return false, task.Errorf(task.KindConflict, "node %s is a living server of the cluster already: give the new server a node id and addresses of its own", nodeIDOf(s.ID))
			}
			if s.Suffrage == raft.Voter && oneShort(servers) {
				return false, task.Errorf(task.KindUnavailable, "another server is being replaced; this one has to wait until that one has caught up")
			}
			n.cfg.Log.Warn("a server has come back without its data", "node", p.NodeID, "was", s.ID, "is", id)
			if err := n.raft.RemoveServer(s.ID, 0, askTimeout).Error(); err != nil {
				return false, n.readError(err)
			}
		}
	}
	n.addrs.set(p.PeerAddr, p.Addr)
	if err := n.raft.AddNonvoter(id, raft.ServerAddress(p.PeerAddr), 0, askTimeout).Error(); err != nil {
		return false, n.readError(err)
	}
	return false, nil
}

// Addrs is the gRPC addresses of the servers, as far as they are known, sorted.
func (n *Node) Addrs() (addrs []string) {
	servers, err := n.Servers()
	if err != nil {
		return nil // it is not part of a cluster yet
	}
	for _, s := range servers {
		if addr := n.addrs.get(string(s.Address)); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// oneShort says that a voter was removed whose successor does not vote yet: clusters are
// made of odd numbers of servers.
func oneShort(servers []raft.Server) bool {
	voters := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters%2 == 0
}

// alive says whether the very server of Raft's configuration answers.
func (n *Node) alive(ctx context.Context, s raft.Server) bool {
	if s.ID == n.id.raftID() {
		return true
	}
	info, err := n.identify(ctx, s)
	return err == nil && raftID(info.NodeID, info.ServerID) == s.ID
}

// identify asks a server of Raft's configuration who it is.
func (n *Node) identify(ctx context.Context, s raft.Server) (PeerInfo, error) {
	addr := n.addrs.get(string(s.Address))
	if addr == "" || n.cfg.Peers == nil {
		return PeerInfo{}, task.Errorf(task.KindUnavailable, "the gRPC address of %s is not known", nodeIDOf(s.ID))
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return n.cfg.Peers.Identify(ctx, addr)
}

// TransferLeadership hands leadership over to the voter with a node id; "": to the one that
// is furthest. What is under way is answered by this server or not at all, as with any
// loss of leadership.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	if n.raft.State() != raft.Leader {
		return n.notLeader()
	}
	if to == n.id.NodeID {
		return nil
	}
	servers, err := n.Servers()
	if err != nil {
		return n.readError(err)
	}
	at := slices.IndexFunc(servers, func(s raft.Server) bool {
		return s.Suffrage == raft.Voter && s.ID != n.id.raftID() && (to == "" || nodeIDOf(s.ID) == to)
	})
	switch {
	case at < 0 && to == "":
		return task.Errorf(task.KindConflict, "%s is the only voter: there is nobody to hand leadership over to", n.id.NodeID)
	case at < 0:
		return task.Errorf(task.KindNotFound, "%q is no voter of this cluster: see rota cluster status for those that are", to)
	}
	transfer := n.raft.LeadershipTransfer
	if to != "" {
		transfer = func() raft.Future { return n.raft.LeadershipTransferToServer(servers[at].ID, servers[at].Address) }
	}
	if err := n.transferLeadership(ctx, transfer); err != nil {
		// Not one to try again at once: requests wait while a transfer is tried.
		return task.Errorf(task.KindConflict, "leadership was not handed over: %v; the other server may be down or far behind", err)
	}
	return nil
}

// PeerStatus is a server of the cluster and what it says of itself.
type PeerStatus struct {
	NodeID, ServerID string
	PeerAddr         string
	Voter            bool
	Info             PeerInfo
	// Err is why it did not answer.
	Err error
}

// Peers asks every server of the cluster, at once, who it is.
func (n *Node) Peers(ctx context.Context) ([]PeerStatus, error) {
	servers, err := n.Servers()
	if err != nil {
		return nil, err
	}
	out := make([]PeerStatus, len(servers))
	done := make(chan struct{})
	for i, s := range servers {
		nodeID, serverID := splitRaftID(s.ID)
		out[i] = PeerStatus{NodeID: nodeID, ServerID: serverID, PeerAddr: string(s.Address), Voter: s.Suffrage == raft.Voter}
		go func() {
			defer func() { done <- struct{}{} }()
			if s.ID == n.id.raftID() {
				out[i].Info = n.Self()
				return
			}
			out[i].Info, out[i].Err = n.identify(ctx, s)
		}()
	}
	for range servers {
		<-done
	}
	return out, nil
}

// promote makes voters of non-voters that have caught up and replace another one, while ctx
// lasts. Nobody else gets a vote unasked: each further voter makes the majority larger, and
// a server that was started by mistake, and stopped again, could cost a cluster that has
// lost one already.
func (n *Node) promote(ctx context.Context) {
	tick := time.NewTicker(promoteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		servers, err := n.Servers()
		if err != nil {
			continue
		}
		for _, s := range servers {
			if s.Suffrage == raft.Voter || !oneShort(servers) {
				continue
			}
			info, err := n.identify(ctx, s)
			if err != nil || raftID(info.NodeID, info.ServerID) != s.ID || info.AppliedIndex+caughtUp < n.state.Machine().AppliedIndex() {
				continue
			}
			err = n.raft.AddVoter(s.ID, s.Address, 0, askTimeout).Error()
			n.cfg.Log.Info("a server that has caught up becomes a voter", "server", s.ID, "error", err)
			break // and look again at who votes
		}
	}
}
