package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// askEvery is how often a server without a cluster asks the others.
const askEvery = 200 * time.Millisecond

// joiner makes a new server part of a cluster: one that it makes together with others, or one that there is.
type joiner struct {
	self *self
	raft interface {
		BootstrapCluster(raft.Configuration) raft.Future
	}
	directory *directory
	inquiry   *inquiry
	// expect is how many new servers make a cluster together; 0: this one makes none.
	expect int
	// found is called when addresses of servers were found.
	found func()
	// info is what this server says of itself.
	info func() PeerInfo
	// depart ends this server, because it was removed.
	depart func()
	logger *slog.Logger

	// waits is what this server waits for; nil: it is part of a cluster.
	waits atomic.Pointer[string]
	// sees is the raft ids of the new servers that it sees, itself included, sorted.
	sees atomic.Pointer[[]string]
	// told is the gRPC addresses of further new servers, which another one has told.
	told atomic.Pointer[[]string]
}

// hear takes note of where another new server sees new servers. The next look asks there, too.
func (j *joiner) hear(places []Place) {
	var told []string
	for _, p := range places[:min(len(places), maxPlaces)] {
		if p.valid() {
			told = append(told, p.Addr)
		}
	}
	j.told.Store(&told)
}

// look asks who is there. err says which names of the join list could not be looked up.
func (j *joiner) look(ctx context.Context) (peers []PeerInfo, err error) {
	join, err := j.inquiry.joinAddrs(ctx)
	peers = j.inquiry.askAt(ctx, join, join)
	known := map[raft.ServerID]bool{}
	for _, p := range peers {
		known[p.RaftID()] = true
	}
	for _, p := range j.inquiry.askAt(ctx, j.toldBeside(join), nil) {
		// Nobody is to be led to a cluster that is not in its join list.
		if !p.Initialized && !known[p.RaftID()] {
			peers = append(peers, p)
		}
	}
	j.see(peers)
	return peers, err
}

// toldBeside is the addresses beside those of the join list that another new server has told.
func (j *joiner) toldBeside(join []string) (addrs []string) {
	if told := j.told.Load(); told != nil {
		for _, addr := range *told {
			if !slices.Contains(join, addr) {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// seen is the raft ids of the new servers that this one sees; nil: it has not looked yet.
func (j *joiner) seen() []string {
	if sees := j.sees.Load(); sees != nil {
		return *sees
	}
	return nil
}

// see notes which new servers answer.
func (j *joiner) see(peers []PeerInfo) {
	ids := []string{string(j.self.id)}
	for _, p := range peers {
		if !p.Initialized {
			ids = append(ids, string(p.RaftID()))
		}
	}
	slices.Sort(ids)
	j.sees.Store(&ids)
}

// run asks the others until this server is part of a cluster. Then it calls joined, and asks on until the
// addresses of all other servers are known. It ends with ctx.
func (j *joiner) run(ctx context.Context, joined func()) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	said := ""
	for !j.directory.initialized() {
		peers, unknown := j.look(ctx)
		status, err := j.tryBootstrap(ctx, peers)
		if err != nil {
			status = err.Error()
		}
		if unknown != nil {
			status += " (" + unknown.Error() + ")"
		}
		j.waits.Store(&status)
		if status != said {
			said = status
			j.logger.Info("waiting for a cluster", "status", status)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	j.waits.Store(nil)
	joined()
	// Until the addresses of all others are known, so that requests can be forwarded.
	pause := askEvery
	for known := -1; !j.directory.knowsAll(); {
		if found := len(j.inquiry.ask(ctx)); found != known {
			known = found
			j.found()
		}
		tick.Reset(pause)
		pause = min(2*pause, announceMax)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	j.found()
}

// waiting is what this server waits for to be part of a cluster; "": it is.
func (j *joiner) waiting() string {
	if what := j.waits.Load(); what != nil {
		return *what
	}
	return ""
}

// tryBootstrap does what the answers of the others allow. The lowest of all new
// servers bootstraps alone, once all that are expected are there and new, and see the same servers: two
// different clusters cannot come of that.
func (j *joiner) tryBootstrap(ctx context.Context, peers []PeerInfo) (status string, err error) {
	for _, p := range peers {
		if p.RaftID() == j.self.id {
			return "", fmt.Errorf("the server at %s runs on a copy of this server's data folder: end it, and give each server a folder of its own", p.Addr)
		}
		if p.NodeID == j.self.nodeID {
			return "", fmt.Errorf("the server at %s has this server's node id %s: give each its own", p.Addr, p.NodeID)
		}
	}
	for _, p := range peers {
		if p.Initialized {
			return j.askToJoin(ctx, peers)
		}
	}
	if j.expect == 0 {
		return "no server of the join list is part of a cluster, and --bootstrap-expect is not set", nil
	}
	if found := len(peers) + 1; found < j.expect {
		return fmt.Sprintf("%d of %d servers are there", found, j.expect), nil
	}
	configuration := raft.Configuration{Servers: []raft.Server{{ID: j.self.id, Address: raft.ServerAddress(j.self.peerAddr)}}}
	for _, p := range peers {
		if p.BootstrapExpect != j.expect {
			return "", fmt.Errorf("%s expects %d servers, this one %d: start all with the same --bootstrap-expect", p.NodeID, p.BootstrapExpect, j.expect)
		}
		if p.NodeID < j.self.nodeID {
			return "waiting for " + p.NodeID + " to bootstrap the cluster", nil
		}
		configuration.Servers = append(configuration.Servers, raft.Server{ID: raftnet.ServerID(p.NodeID, p.ServerID), Address: raft.ServerAddress(p.PeerAddr)})
	}
	if len(configuration.Servers) != j.expect {
		return "", fmt.Errorf("%d servers are there, %d are expected: list exactly the first servers in --join", len(configuration.Servers), j.expect)
	}
	if other, agrees := j.oneView(ctx, peers); !agrees {
		return "waiting until " + other + " sees the same servers", nil
	}
	if err := j.raft.BootstrapCluster(configuration).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return "", err
	}
	return "bootstrapped", nil
}

// oneView says whether the new servers see all the same servers, or which of them does not. A name in --join has more
// addresses as servers come, so they may see different ones: two sets of them could make two clusters. Those that see
// fewer are told of the others.
func (j *joiner) oneView(ctx context.Context, peers []PeerInfo) (other string, agrees bool) {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	own := j.info()
	m := Meeting{From: own, Places: []Place{{own.RaftID(), own.Addr, own.PeerAddr}}}
	for _, p := range peers {
		m.Places = append(m.Places, Place{p.RaftID(), p.Addr, p.PeerAddr})
	}
	for _, p := range peers {
		met, err := j.inquiry.peers.Meet(ctx, p.Addr, m)
		switch {
		case task.KindOf(err) == task.KindUnsupported:
			// It is of a build whose servers knew only addresses that do not change.
		case err != nil || !slices.Equal(met.Sees, j.seen()):
			return p.NodeID, false
		}
	}
	return "", true
}

// askToJoin asks the leader of an existing cluster to take this server in, unless it was
// among those that made it, and the leader reaches it by itself.
func (j *joiner) askToJoin(ctx context.Context, peers []PeerInfo) (string, error) {
	leader := leaderAmong(peers)
	if leader == "" {
		return "the cluster has no leader", nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	err := j.inquiry.peers.Join(ctx, leader, j.info())
	if errors.Is(err, ErrRemoved) {
		j.depart()
	}
	if err != nil {
		return "", fmt.Errorf("join the cluster by %s: %w", leader, err)
	}
	return "joining", nil
}
