package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// catchUpCheck is how often a server that has started checks whether it has what the
	// leader has.
	catchUpCheck = 50 * time.Millisecond
	// catchUpStep bounds one wait for what the leader had. Then the leader is asked anew:
	// it may be another server by then.
	catchUpStep = 2 * time.Second
)

// catchUp finds out when this server has what the leader has. Before that, a majority may do
// without this server, but not without another one as well.
type catchUp struct {
	self raft.ServerID
	raft interface {
		LeaderWithID() (raft.ServerAddress, raft.ServerID)
	}
	// leads says whether this server leads and serves.
	leads    func() bool
	identify identifyFunc
	// wait returns when the state machine of this server has reached an index.
	wait func(ctx context.Context, index uint64) error

	// done: this server has led since its start, or has had all that a leader had at one time since.
	done atomic.Bool
}

// run waits until this server has caught up, or ctx ends.
func (c *catchUp) run(ctx context.Context) {
	tick := time.NewTicker(catchUpCheck)
	defer tick.Stop()
	for !c.hasWhatTheLeaderHas(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	c.done.Store(true)
}

func (c *catchUp) hasWhatTheLeaderHas(ctx context.Context) bool {
	if c.leads() {
		return true
	}
	_, id := c.raft.LeaderWithID()
	if id == "" || id == c.self {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpStep)
	defer cancel()
	leader, err := c.identify(ctx, id)
	return err == nil && leader.State == RoleLeader && c.wait(ctx, leader.AppliedIndex) == nil
}
