package node

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// establishTimeout bounds how long a new leader may take to become ready. One that
// cannot gives its place up.
const establishTimeout = 10 * time.Second

// followLeadership establishes and revokes in pairs. Raft tells of each change in
// order: a loss and gain in quick succession is a loss followed by a gain.
func (n *Node) followLeadership() {
	revoke := func() {}
	defer func() { revoke() }()
	for {
		select {
		case <-n.ctx.Done():
			return
		case leading := <-n.notify:
			revoke()
			revoke = func() {}
			if leading {
				revoke = n.establish()
			}
		}
	}
}

// establishPause is the wait before another attempt to become ready.
const establishPause = 100 * time.Millisecond

// establish starts what a leader does, and returns what ends it. One that cannot become
// ready hands leadership over; where nobody takes it, it tries again.
func (n *Node) establish() (revoke func()) {
	ctx, cancel := context.WithCancel(n.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { n.watchVoters(ctx) })
	wg.Go(func() {
		for {
			err := n.lead(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			n.cfg.Logger.Warn("cannot take up leadership", "error", err)
			if err := n.transferLeadership(ctx, n.raft.LeadershipTransfer); err != nil {
				n.cfg.Logger.Warn("cannot hand leadership over", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(establishPause):
			}
		}
	})
	return func() {
		n.ready.Store(0)
		cancel()
		wg.Wait()
	}
}

// lead makes this server ready as a leader and runs the leader's loops until ctx ends.
func (n *Node) lead(ctx context.Context) error {
	term := n.Term()
	clock := make(chan struct{})
	n.wg.Go(func() {
		n.setClock(ctx)
		close(clock)
	})
	// Everything that was acknowledged before is applied after this.
	if err := n.barrier(establishTimeout); err != nil {
		return err
	}
	<-clock
	if n.Term() != term {
		// It was deposed, and is about to hear of it: it must not speak for the term of
		// another leader until then.
		return nil
	}
	if n.state.Machine().ClusterID() == "" {
		if err := n.initCluster(ctx); err != nil {
			return err
		}
	}
	// Who hears of this leader is to know where it is.
	if err := n.recordSelf(ctx); err != nil {
		n.cfg.Logger.Warn("cannot record where this server is", "error", err)
	}
	n.fleet.Begin(n.state.Machine().Sessions())
	n.state.Machine().SetObserver(n.fleet)
	defer func() {
		n.ready.Store(0)
		n.state.Machine().SetObserver(nil)
		n.fleet.End()
		n.cfg.Logger.Info("no longer the leader", "term", term)
	}()
	if ctx.Err() != nil {
		return nil
	}
	n.transfers.rest()
	n.ready.Store(term)
	n.leaders.wake()
	n.cfg.Logger.Info("leading", "term", term)
	loops := &scheduler.Loops{
		Proposer: n, State: n.state, Fleet: n.fleet, Logger: n.cfg.Logger,
		RetentionInterval: n.cfg.RetentionInterval, RetentionBytes: n.cfg.RetentionBytes,
		Settled: n.applier.clock.settled, Behind: n.flusher.Behind,
	}
	var wg sync.WaitGroup
	wg.Go(func() { n.keepServers(ctx) })
	loops.Run(ctx)
	wg.Wait()
	return nil
}

func (n *Node) initCluster(ctx context.Context) error {
	id, err := newID()
	if err != nil {
		return err
	}
	_, err = n.Propose(ctx, &logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: id}}})
	if task.KindOf(err) == task.KindConflict {
		return nil // another leader was first
	}
	return err
}

// Ready says whether this server leads and serves, and in which term.
func (n *Node) Ready() (term uint64, ok bool) {
	term = n.ready.Load()
	return term, term != 0
}

// CheckLeader returns nil where this server leads and serves, or an error with a hint.
func (n *Node) CheckLeader() error {
	if _, ok := n.Ready(); ok {
		return nil
	}
	if n.raft.State() == raft.Leader {
		// With no room for the first entry of its term it does not become ready.
		if n.majorityFull.Load() {
			err := errMajorityFull()
			err.Leader = n.cfg.Addr // it may be a matter of milliseconds all the same
			return err
		}
		return &task.Error{Kind: task.KindUnavailable, Msg: "the leader is not ready yet; try again, and where that lasts, " + lookAtDisks, Leader: n.cfg.Addr, RetryAfter: retryDelay}
	}
	return n.notLeader()
}

// Term is Raft's current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// Leader is the leader that this server knows of.
type Leader struct {
	Term   uint64
	NodeID string
	// Addr is its gRPC address; "" where it is not known yet.
	Addr string
}

// Leader returns the leader that this server knows of; NodeID is "" where there is none. One
// that has no vote is none, whatever it says of itself.
func (n *Node) Leader() Leader {
	l := Leader{Term: n.Term()}
	_, id := n.raft.LeaderWithID()
	// The two are read one after the other: a leader must not be told of under the term of
	// the next one, which others would then take for the old one's news.
	for now := n.Term(); now != l.Term; now = n.Term() {
		l.Term = now
		_, id = n.raft.LeaderWithID()
	}
	if id != "" && n.votes(id) {
		l.NodeID, l.Addr = raftnet.NodeID(id), n.addrOf(id)
	}
	return l
}

// LeaderAddr is the gRPC address of the leader, or "".
func (n *Node) LeaderAddr() string { return n.Leader().Addr }

// leaderlessFactor times the election timeout is how long there may be no leader while one
// is elected, with room for elections that fail. For longer, it is that this server does
// not hear of one, or that there can be none.
const leaderlessFactor = 5

// Leaderless says that no leader has been known here for longer than elections take. What
// waits for one had better be tried elsewhere.
func (n *Node) Leaderless() bool {
	since := n.leaders.unknownSince()
	return !since.IsZero() && time.Since(since) > leaderlessFactor*n.cfg.ElectionTimeout
}

// leaderCast wakes those who follow changes of the leader.
type leaderCast struct {
	mu      sync.Mutex
	changed chan struct{}
	// unknown is since when there has been no leader; zero: there is one.
	unknown time.Time
}

func (c *leaderCast) unknownSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unknown
}

// known notes whether there is a leader.
func (c *leaderCast) known(leader bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case leader:
		c.unknown = time.Time{}
	case c.unknown.IsZero():
		c.unknown = time.Now()
	}
}

func (c *leaderCast) channel() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

func (c *leaderCast) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// LeaderChanged returns a channel that is closed at the next change of the leader.
func (n *Node) LeaderChanged() <-chan struct{} { return n.leaders.channel() }

// castLeaders follows raft's observations of leaders.
func (n *Node) castLeaders() {
	// A full channel drops observations; each only says to look again.
	ch := make(chan raft.Observation, 16)
	obs := raft.NewObserver(ch, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(obs)
	defer n.raft.DeregisterObserver(obs)
	for {
		n.leaders.known(n.Leader().NodeID != "")
		select {
		case <-n.ctx.Done():
			n.leaders.wake()
			return
		case <-ch:
			n.learnLeader()
			n.leaders.wake()
		case <-n.places:
			n.leaders.wake()
		}
	}
}
