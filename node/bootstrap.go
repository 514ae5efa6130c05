package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
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
	info   func() PeerInfo
	logger *slog.Logger

	// waits is what this server waits for; nil: it is part of a cluster.
	waits atomic.Pointer[string]
}

// run asks the others until this server is part of a cluster. Then it calls joined, and asks on until the
// addresses of all other servers are known. It ends with ctx.
func (j *joiner) run(ctx context.Context, joined func()) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	said := ""
	for !j.directory.initialized() {
		status, err := j.tryBootstrap(ctx)
		if err != nil {
			status = err.Error()
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

// tryBootstrap asks the others and does what their answers allow. The lowest of all new
// servers bootstraps alone, once all that are expected are there and new: two
// different clusters cannot come of that.
func (j *joiner) tryBootstrap(ctx context.Context) (status string, err error) {
	peers := j.inquiry.ask(ctx)
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
	if err := j.raft.BootstrapCluster(configuration).Error(); err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return "", err
	}
	return "bootstrapped", nil
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
	if err := j.inquiry.peers.Join(ctx, leader, j.info()); err != nil {
		return "", fmt.Errorf("join the cluster by %s: %w", leader, err)
	}
	return "joining", nil
}
