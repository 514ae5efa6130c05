package node

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

// Raft hears servers that this one knows, and those that they know: see package raftnet.

// askTrusted asks the servers of Raft's configuration and of the join list which servers
// there are.
func (n *Node) askTrusted(ctx context.Context) {
	servers, err := n.Servers()
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	for _, s := range servers {
		// Anybody can become a server without a vote: its word counts for nothing.
		if s.ID == n.id.raftID() || s.Suffrage != raft.Voter {
			continue
		}
		wg.Go(func() {
			if info, err := n.identify(ctx, s.ID); err == nil {
				n.learn(info)
			}
		})
	}
	n.ask(ctx) // see learnFrom
	wg.Wait()
}

// learnFrom takes the word of a server of the join list for who belongs to the cluster.
func (n *Node) learnFrom(p PeerInfo) {
	if own := n.state.Machine().ClusterID(); own != "" && own != p.ClusterID {
		return
	}
	if !n.initialized() {
		// It may be about to make a cluster with this one, and have none yet.
		n.transport.Learn(p.Term, p.RaftID())
	}
	n.learn(p)
}

// learn tells the transport which servers there are by what one of them says.
func (n *Node) learn(p PeerInfo) {
	members := make([]raft.ServerID, len(p.Members))
	for i, id := range p.Members {
		members[i] = raft.ServerID(id)
	}
	n.transport.Learn(p.Term, members...)
}

// RaftRefused counts what was refused on raft's port, since the start.
func (n *Node) RaftRefused() int64 { return n.transport.Refused() }
