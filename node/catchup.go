package node

import (
	"context"
	"time"
)

const (
	// catchUpCheck is how often a server that has started looks whether it has what the
	// leader has.
	catchUpCheck = 50 * time.Millisecond
	// catchUpStep bounds one wait for what the leader had, before the leader is asked anew:
	// it may be another one by then.
	catchUpStep = 2 * time.Second
)

// CaughtUp says whether this server has led since its start, or has had all that a
// leader had at one time since. Before that the majority may do without it, but not
// without another one as well.
func (n *Node) CaughtUp() bool { return n.caughtUp.Load() }

// catchUp waits until CaughtUp is true.
func (n *Node) catchUp() {
	tick := time.NewTicker(catchUpCheck)
	defer tick.Stop()
	for !n.hasWhatTheLeaderHas() {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
	}
	n.caughtUp.Store(true)
}

func (n *Node) hasWhatTheLeaderHas() bool {
	if _, leads := n.Ready(); leads {
		return true
	}
	_, id := n.raft.LeaderWithID()
	if id == "" || id == n.id.raftID() {
		return false
	}
	ctx, cancel := context.WithTimeout(n.ctx, catchUpStep)
	defer cancel()
	leader, err := n.identify(ctx, id)
	return err == nil && leader.State == RoleLeader && n.WaitApplied(ctx, leader.AppliedIndex) == nil
}
