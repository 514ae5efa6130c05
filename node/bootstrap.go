package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// askEvery is how often a server without a cluster asks the others.
	askEvery = 200 * time.Millisecond
	// askTimeout bounds one question.
	askTimeout = time.Second
	// transportTimeout bounds raft's messages. A half-open connection blocks a heartbeat
	// for as long.
	transportTimeout = time.Second
	// installBytes is how much of the state a server must take over in a transportTimeout, which
	// is to receive it, write it, look through it and answer. Raft's own default, 256 KiB, is
	// more than a busy machine takes: a transfer was given up that had nearly ended, and the
	// next one had more to send.
	installBytes = 32 << 10
	// transportPool is how many connections to each server are kept.
	transportPool = 3
)

// newTransport serves raft on a listener.
func newTransport(l net.Listener, advertise string, g *gate, log *slog.Logger, pc *pace, pr *progress) raftTransport {
	t := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                  newStreamLayer(l, advertise, g),
		MaxPool:                 transportPool,
		MaxRPCsInFlight:         2,
		Timeout:                 transportTimeout,
		Logger:                  newRaftLogger(log),
		MsgpackUseNewTimeFormat: true,
	})
	t.TimeoutScale = installBytes
	return pipelined{t, pc, pr}
}

type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// splitRaftID is the inverse of raftID.
func splitRaftID(id raft.ServerID) (nodeID, serverID string) {
	nodeID, serverID, _ = strings.Cut(string(id), "/")
	return nodeID, serverID
}

// nodeIDOf returns the node id of a server in Raft's configuration.
func nodeIDOf(id raft.ServerID) string {
	nodeID, _ := splitRaftID(id)
	return nodeID
}

// addrBook knows the gRPC address of each Raft address.
type addrBook struct {
	mu sync.Mutex
	m  map[string]string
	// met is the addresses of the join list that have answered.
	met map[string]struct{}
}

// meet takes note of the answer to a question at addr.
func (b *addrBook) meet(addr string, p PeerInfo) {
	b.set(p.PeerAddr, p.Addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.met == nil {
		b.met = map[string]struct{}{}
	}
	b.met[addr] = struct{}{}
}

// hasMet says whether addr has ever answered.
func (b *addrBook) hasMet(addr string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.met[addr]
	return ok
}

func (b *addrBook) get(peerAddr string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m[peerAddr]
}

func (b *addrBook) set(peerAddr, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = map[string]string{}
	}
	b.m[peerAddr] = addr
}

// Self is what this server says of itself.
func (n *Node) Self() PeerInfo {
	return PeerInfo{
		NodeID: n.id.NodeID, ServerID: n.id.ServerID, ClusterID: n.state.Machine().ClusterID(), Addr: n.cfg.Addr,
		PeerAddr: n.cfg.PeerAddr, HTTPAddr: n.cfg.HTTPAddr, Initialized: n.initialized(), BootstrapExpect: n.cfg.BootstrapExpect,
		State: n.raft.State(), Term: n.Term(), AppliedIndex: n.state.Machine().AppliedIndex(), CommitIndex: n.raft.CommitIndex(), Version: n.cfg.Version,
		LeaderAddr: n.LeaderAddr(), LastContact: n.lastContact(), Clock: time.Now().Round(0), DiskFull: n.diskFull(),
		Members: n.memberIDs(),
	}
}

// memberIDs is the raft ids of the servers of the latest configuration.
func (n *Node) memberIDs() (ids []raft.ServerID) {
	servers, err := n.Servers()
	if err != nil {
		return nil // raft has ended
	}
	for _, s := range servers {
		ids = append(ids, s.ID)
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

// Servers is Raft's configuration, and the gRPC addresses as far as they are known.
func (n *Node) Servers() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// ask asks every address of the join list, at once, and keeps what it learns of addresses.
func (n *Node) ask(ctx context.Context) []PeerInfo {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var out []PeerInfo
	var wg sync.WaitGroup
	for _, addr := range n.cfg.Join {
		if addr == n.cfg.Addr || n.cfg.Peers == nil {
			continue
		}
		wg.Go(func() {
			info, err := n.cfg.Peers.Identify(ctx, addr)
			if err != nil {
				n.cfg.Log.Debug("a server did not answer", "addr", addr, "error", err)
				return
			}
			n.addrs.meet(addr, info)
			n.vouchedBy(info)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, info)
		})
	}
	wg.Wait()
	return out
}

// learnLeader asks for the gRPC addresses of the servers until that of the leader is
// known, once per change. It reports whether there is something to tell.
func (n *Node) learnLeader() bool {
	if l := n.Leader(); l.NodeID != "" && l.Addr == "" {
		n.ask(n.ctx)
	}
	return true
}

// bootstrapOrJoin makes a new server part of a cluster: it asks the others until it is.
func (n *Node) bootstrapOrJoin() {
	n.addrs.set(n.cfg.PeerAddr, n.cfg.Addr)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	said := ""
	for !n.initialized() {
		status, err := n.tryBootstrap()
		if err != nil {
			status = err.Error()
		}
		if status != said {
			said = status
			n.cfg.Log.Info("waiting for a cluster", "status", status)
		}
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
	// Until the addresses of all others are known, so that requests can be forwarded.
	for known := -1; !n.metAll(); {
		if found := len(n.ask(n.ctx)); found != known {
			known = found
			n.leaders.wake()
		}
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
	n.leaders.wake()
}

// metAll says whether every other server of the join list has answered once.
func (n *Node) metAll() bool {
	for _, addr := range n.cfg.Join {
		if addr != n.cfg.Addr && n.cfg.Peers != nil && !n.addrs.hasMet(addr) {
			return false
		}
	}
	return true
}

// tryBootstrap asks the others and does what their answers allow. The lowest of all new
// servers bootstraps alone, once all that are expected are there and new: two
// different clusters cannot come of that.
func (n *Node) tryBootstrap() (status string, err error) {
	peers := n.ask(n.ctx)
	for _, p := range peers {
		if p.NodeID == n.id.NodeID {
			return "", fmt.Errorf("the server at %s has this server's node id %s: give each its own", p.Addr, p.NodeID)
		}
	}
	for _, p := range peers {
		if p.Initialized {
			return n.askToJoin(p, peers)
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
		configuration.Servers = append(configuration.Servers, raft.Server{ID: raftID(p.NodeID, p.ServerID), Address: raft.ServerAddress(p.PeerAddr)})
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
func (n *Node) askToJoin(p PeerInfo, peers []PeerInfo) (string, error) {
	leader := p.LeaderAddr
	for _, q := range peers {
		if q.State == raft.Leader {
			leader = q.Addr
		}
	}
	if leader == "" {
		return "the cluster has no leader", nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, askTimeout)
	defer cancel()
	if err := n.cfg.Peers.Join(ctx, leader, n.Self()); err != nil {
		return "", fmt.Errorf("join the cluster by %s: %w", leader, err)
	}
	return "joining", nil
}
