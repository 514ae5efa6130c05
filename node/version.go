package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// versionRise raises the version of the log, as far as all voters know it. The leader asks each of them, at
// its own address, what its build knows. A voter that does not answer knows nothing, because it may come back
// as an older build than it was. Servers without a vote are not waited for; one that is too old stops and says so. One that
// is about to get a vote is: it would stop, and a voter would be missing until somebody starts a newer build there.
type versionRise struct {
	// self is this server in Raft's configuration, which is what servers returns; knows is the newest version that it knows.
	self    raft.ServerID
	knows   uint32
	servers func() ([]raft.Server, error)
	// aboutToVote says whether a server that has no vote is about to get one.
	aboutToVote func(raft.Server) bool
	identify    identifyFunc
	state       stateMachine
	propose     proposeFunc
	// lock is held while the version rises, so that nobody gets a vote meanwhile.
	lock   membersLock
	logger *slog.Logger
}

// raise raises the active version, as the leader, if all voters know a newer one.
func (v *versionRise) raise(ctx context.Context) {
	active := v.state.Machine().ActiveVersion()
	if active >= v.knows {
		return
	}
	if version, err := v.knownByAll(ctx); err != nil || version <= active {
		v.logger.Debug("the version of the log stays", "version", active, "known_by_all", version, "error", err)
		return
	}
	// Once more, while nobody can get a vote. The first time is without the lock: voters that do not
	// answer must not keep servers from joining.
	unlock, err := v.lock.enter(ctx)
	if err != nil {
		return
	}
	defer unlock()
	version, err := v.knownByAll(ctx)
	if err != nil || version <= active {
		return
	}
	op := &logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: version}}}
	if _, err := v.propose(ctx, op); err != nil {
		v.logger.Debug("cannot raise the version of the log", "to", version, "error", err)
		return
	}
	v.logger.Info("the version of the log has risen: builds that do not know it cannot come back", "version", version, "was", active)
}

// knownByAll is the newest version that this server, all other voters, and those that are about to vote know.
func (v *versionRise) knownByAll(ctx context.Context) (uint32, error) {
	servers, err := v.servers()
	if err != nil {
		return 0, err
	}
	known := v.knows
	for _, s := range servers {
		if s.ID == v.self || s.Suffrage != raft.Voter && !v.aboutToVote(s) {
			continue
		}
		info, err := v.identify(ctx, s.ID)
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
