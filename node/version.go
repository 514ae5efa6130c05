package node

import (
	"cmp"
	"context"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// The version of the log rises by itself, as far as all voters know it: the leader asks each of them, at its
// own address, what its build knows. One that does not answer knows nothing, for it may come back as an
// older build than it was. Servers without a vote are not waited for; one that is too old stops and says so.

// knownBefore is what a server knows that does not say: it was built before there was a gate.
const knownBefore = fsm.GateVersion - 1

// knows is the newest version of the log that the server's build knows.
func (p *PeerInfo) knows() uint32 { return max(p.Knows, knownBefore) }

// knows is the newest version of the log that this server knows.
func (n *Node) knows() uint32 { return cmp.Or(n.cfg.Knows, fsm.Version) }

// raiseVersion has the active version rise, as the leader, where all voters know a newer one.
func (n *Node) raiseVersion(ctx context.Context) {
	active := n.state.Machine().ActiveVersion()
	if active >= n.knows() {
		return
	}
	if version, err := n.knownByAll(ctx); err != nil || version <= active {
		n.cfg.Logger.Debug("the version of the log stays", "version", active, "known_by_all", version, "error", err)
		return
	}
	// Once more, while nobody can get a vote: questions that are not answered must not keep servers from joining.
	unlock, err := n.lockMembers(ctx)
	if err != nil {
		return
	}
	defer unlock()
	version, err := n.knownByAll(ctx)
	if err != nil || version <= active {
		return
	}
	op := &logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: version}}}
	if _, err := n.Propose(ctx, op); err != nil {
		n.cfg.Logger.Debug("cannot raise the version of the log", "to", version, "error", err)
		return
	}
	n.cfg.Logger.Info("the version of the log has risen: builds that do not know it cannot come back", "version", version, "was", active)
}

// knownByAll is the newest version that this server and all other voters know.
func (n *Node) knownByAll(ctx context.Context) (uint32, error) {
	servers, err := n.Servers()
	if err != nil {
		return 0, err
	}
	known := n.knows()
	for _, s := range servers {
		if s.Suffrage != raft.Voter || s.ID == n.id.raftID() {
			continue
		}
		info, err := n.identify(ctx, s.ID)
		if err != nil {
			return 0, err
		}
		known = min(known, info.knows())
	}
	return known, nil
}

// checkKnows refuses a server that would stop at the next entry.
func checkKnows(p *PeerInfo, active uint32) error {
	if known := p.knows(); known < active {
		return task.Errorf(task.KindUnsupported, "server %s knows versions of the log up to %d, and the cluster is at version %d: start it with a newer build of rota", p.NodeID, known, active)
	}
	return nil
}

// mustStop is the error of a server that cannot apply what the others do.
func mustStop(err error) error { return fmt.Errorf("this server must stop: %w", err) }
