package node

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// Where another server is found says the replicated state, which is the same on every
// server. Only for one that has no record yet, in a cluster that is being made, does
// what the addresses of the join list have answered count.

// addrBook is what the addresses of the join list have answered last.
type addrBook struct {
	mu  sync.Mutex
	met map[string]PeerInfo
}

// meet takes note of the answer to a question at an address of the join list.
func (b *addrBook) meet(addr string, p PeerInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.met == nil {
		b.met = map[string]PeerInfo{}
	}
	b.met[addr] = p
}

// get returns the gRPC address of a server, or "".
func (b *addrBook) get(id raft.ServerID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, addr := range slices.Sorted(maps.Keys(b.met)) {
		if p := b.met[addr]; p.RaftID() == id {
			return p.Addr
		}
	}
	return ""
}

// recordID is how a recorded server is called in Raft's configuration.
func recordID(s *logpb.ServerRecord) raft.ServerID { return raftnet.ServerID(s.NodeId, s.ServerId) }

// record returns what is recorded of a server; nil: nothing.
func (n *Node) record(id raft.ServerID) *logpb.ServerRecord {
	for _, s := range n.state.Machine().Servers() {
		if recordID(s) == id {
			return s
		}
	}
	return nil
}

// addrOf is the gRPC address of a server; "": it is not known.
func (n *Node) addrOf(id raft.ServerID) string {
	if id == n.id.raftID() {
		return n.cfg.Addr
	}
	if s := n.record(id); s != nil {
		return s.Addr
	}
	return n.addrs.get(id)
}

// Addrs is the gRPC addresses of the voters, as far as they are known, sorted. Workers and
// clients are told of them. A server without a vote is not theirs to turn to: anybody can
// become one.
func (n *Node) Addrs() (addrs []string) {
	servers, err := n.Servers()
	if err != nil {
		return nil // it is not part of a cluster yet
	}
	for _, s := range servers {
		if addr := n.addrOf(s.ID); addr != "" && s.Suffrage == raft.Voter {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// AllAddrs is the gRPC addresses of all servers, those without a vote included, as far as they are known.
// There are none before this server is part of a cluster.
func (n *Node) AllAddrs() (addrs []string) {
	servers, err := n.Servers()
	if err != nil || n.state.Machine().ClusterID() == "" {
		return nil
	}
	for _, s := range servers {
		if addr := n.addrOf(s.ID); addr != "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// Servers is Raft's configuration.
func (n *Node) Servers() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// member returns a server of Raft's configuration.
func member(servers []raft.Server, id raft.ServerID) (raft.Server, bool) {
	at := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == id })
	if at < 0 {
		return raft.Server{}, false
	}
	return servers[at], true
}

// votes says whether a server has a vote, as far as this one knows.
func (n *Node) votes(id raft.ServerID) bool {
	servers, err := n.Servers()
	if err != nil {
		return false
	}
	s, known := member(servers, id)
	return known && s.Suffrage == raft.Voter
}

// identify asks a server of the cluster who it is.
func (n *Node) identify(ctx context.Context, id raft.ServerID) (PeerInfo, error) {
	addr := n.addrOf(id)
	if addr == "" {
		return PeerInfo{}, task.Errorf(task.KindUnavailable, "the gRPC address of %s is not known", raftnet.NodeID(id))
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := n.cfg.Peers.Identify(ctx, addr)
	if err == nil && info.RaftID() != id {
		return PeerInfo{}, task.Errorf(task.KindUnavailable, "at %s, where %s was, is a server %s with the id %s now", addr, id, info.NodeID, info.ServerID)
	}
	return info, err
}

// placesChanged says that there are other servers, or that some are elsewhere.
func (n *Node) placesChanged() {
	select {
	case n.places <- struct{}{}:
	default:
	}
}
