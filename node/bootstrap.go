package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
)

const (
	// askEvery is how often a server without a cluster asks the others.
	askEvery = 200 * time.Millisecond
	// askTimeout bounds one question.
	askTimeout = time.Second
	// joinTimeout bounds a request to be taken in, for which the leader asks back and writes
	// entries.
	joinTimeout = 5 * time.Second
)

// Self is what this server says of itself.
func (n *Node) Self() PeerInfo {
	return PeerInfo{
		NodeID: n.id.NodeID, ServerID: n.id.ServerID, ClusterID: n.state.Machine().ClusterID(), Addr: n.cfg.Addr,
		PeerAddr: n.cfg.PeerAddr, HTTPAddr: n.cfg.HTTPAddr, Initialized: n.initialized(), BootstrapExpect: n.cfg.BootstrapExpect,
		State: roleOf(n.raft.State()), Term: n.Term(), AppliedIndex: n.state.Machine().AppliedIndex(), CommitIndex: n.raft.CommitIndex(), Version: n.cfg.Version, Knows: n.knows(),
		LeaderAddr: n.LeaderAddr(), LastContact: n.lastContact(), Clock: time.Now().Round(0), DiskFull: n.diskFull(),
		Members: n.memberIDs(),
		Nonce:   n.nonce, Problem: n.problem.get(), Notes: n.joins.notes(),
	}
}

// memberIDs is the raft ids of the servers of the latest configuration.
func (n *Node) memberIDs() (ids []string) {
	servers, err := n.Servers()
	if err != nil {
		return nil // raft has ended
	}
	for _, s := range servers {
		ids = append(ids, string(s.ID))
	}
	return ids
}

// lastContact is the time since the leader was heard of; 0 where it never was.
func (n *Node) lastContact() time.Duration {
	last := n.raft.LastContact()
	if last.IsZero() {
		return 0
	}
	return time.Since(last)
}

// initialized says whether the server has a Raft configuration, its own or a leader's.
func (n *Node) initialized() bool {
	f := n.raft.GetConfiguration()
	return f.Error() == nil && len(f.Configuration().Servers) > 0
}

// ask asks every address of the join list, at once, and keeps what it learns of addresses.
func (n *Node) ask(ctx context.Context) []PeerInfo {
	return n.askAt(ctx, n.cfg.Join)
}

// askAll asks the servers that are recorded, too.
func (n *Node) askAll(ctx context.Context) []PeerInfo {
	addrs := slices.Clone(n.cfg.Join)
	for _, s := range n.state.Machine().Servers() {
		if !slices.Contains(addrs, s.Addr) {
			addrs = append(addrs, s.Addr)
		}
	}
	return n.askAt(ctx, addrs)
}

// askAt asks who is at some addresses, at once. A server that has two of them answers for
// one, and this server for none: it may stand in the list under any of its names.
func (n *Node) askAt(ctx context.Context, addrs []string) []PeerInfo {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	out := map[string]PeerInfo{}
	var wg sync.WaitGroup
	for _, addr := range addrs {
		if addr == n.cfg.Addr {
			continue
		}
		wg.Go(func() {
			info, err := n.cfg.Peers.Identify(ctx, addr)
			if err != nil {
				n.cfg.Logger.Debug("a server did not answer", "addr", addr, "error", err)
				return
			}
			if slices.Contains(n.cfg.Join, addr) {
				n.addrs.meet(addr, info)
			}
			if info.Nonce == n.nonce {
				return
			}
			if slices.Contains(n.cfg.Join, addr) {
				n.learnFrom(info)
			}
			mu.Lock()
			defer mu.Unlock()
			out[string(info.RaftID())+info.Nonce] = info
		})
	}
	wg.Wait()
	return slices.SortedFunc(maps.Values(out), func(a, b PeerInfo) int { return cmp.Compare(a.RaftID(), b.RaftID()) })
}

// learnLeader asks the join list for the gRPC address of the leader where that is not known,
// once per change.
func (n *Node) learnLeader() {
	if l := n.Leader(); l.NodeID != "" && l.Addr == "" {
		n.ask(n.ctx)
	}
}

// bootstrapOrJoin makes a new server part of a cluster: it asks the others until it is. Then
// it sees to it that the cluster knows where it is.
func (n *Node) bootstrapOrJoin() {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	said := ""
	for !n.initialized() {
		status, err := n.tryBootstrap()
		if err != nil {
			status = err.Error()
		}
		n.waits.Store(&status)
		if status != said {
			said = status
			n.cfg.Logger.Info("waiting for a cluster", "status", status)
		}
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
	n.waits.Store(nil)
	n.wg.Go(n.stayKnown)
	// Until the addresses of all others are known, so that requests can be forwarded.
	pause := askEvery
	for known := -1; !n.knowsAll(); {
		if found := len(n.ask(n.ctx)); found != known {
			known = found
			n.leaders.wake()
		}
		tick.Reset(pause)
		pause = min(2*pause, announceMax)
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
	n.leaders.wake()
}

// knowsAll says whether the address of every other server is known.
func (n *Node) knowsAll() bool {
	servers, err := n.Servers()
	return err == nil && !slices.ContainsFunc(servers, func(s raft.Server) bool { return n.addrOf(s.ID) == "" })
}

// Waiting is what this server waits for to be part of a cluster; "": it is.
func (n *Node) Waiting() string {
	if what := n.waits.Load(); what != nil {
		return *what
	}
	return ""
}

// tryBootstrap asks the others and does what their answers allow. The lowest of all new
// servers bootstraps alone, once all that are expected are there and new: two
// different clusters cannot come of that.
func (n *Node) tryBootstrap() (status string, err error) {
	peers := n.ask(n.ctx)
	for _, p := range peers {
		if p.RaftID() == n.id.raftID() {
			return "", fmt.Errorf("the server at %s runs on a copy of this server's data folder: end it, and give each server a folder of its own", p.Addr)
		}
		if p.NodeID == n.id.NodeID {
			return "", fmt.Errorf("the server at %s has this server's node id %s: give each its own", p.Addr, p.NodeID)
		}
	}
	for _, p := range peers {
		if p.Initialized {
			return n.askToJoin(peers)
		}
	}
	if n.cfg.BootstrapExpect == 0 {
		return "no server of the join list is part of a cluster, and --bootstrap-expect is not set", nil
	}
	if found := len(peers) + 1; found < n.cfg.BootstrapExpect {
		return fmt.Sprintf("%d of %d servers are there", found, n.cfg.BootstrapExpect), nil
	}
	configuration := raft.Configuration{Servers: []raft.Server{{ID: n.id.raftID(), Address: raft.ServerAddress(n.cfg.PeerAddr)}}}
	for _, p := range peers {
		if p.BootstrapExpect != n.cfg.BootstrapExpect {
			return "", fmt.Errorf("%s expects %d servers, this one %d: start all with the same --bootstrap-expect", p.NodeID, p.BootstrapExpect, n.cfg.BootstrapExpect)
		}
		if p.NodeID < n.id.NodeID {
			return "waiting for " + p.NodeID + " to bootstrap the cluster", nil
		}
		configuration.Servers = append(configuration.Servers, raft.Server{ID: raftnet.ServerID(p.NodeID, p.ServerID), Address: raft.ServerAddress(p.PeerAddr)})
	}
	if len(configuration.Servers) != n.cfg.BootstrapExpect {
		return "", fmt.Errorf("%d servers are there, %d are expected: list exactly the first servers in --join", len(configuration.Servers), n.cfg.BootstrapExpect)
	}
	if err := n.raft.BootstrapCluster(configuration).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return "", err
	}
	return "bootstrapped", nil
}

// askToJoin asks the leader of an existing cluster to take this server in, unless it was
// among those that made it, and the leader reaches it by itself.
func (n *Node) askToJoin(peers []PeerInfo) (string, error) {
	leader := leaderAmong(peers)
	if leader == "" {
		return "the cluster has no leader", nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, joinTimeout)
	defer cancel()
	if err := n.cfg.Peers.Join(ctx, leader, n.Self()); err != nil {
		return "", fmt.Errorf("join the cluster by %s: %w", leader, err)
	}
	return "joining", nil
}
