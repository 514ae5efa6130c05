package node

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// establishTimeout bounds how long a new leader may take to become ready. One that
// cannot gives its place up.
const establishTimeout = 10 * time.Second

// establishPause is the wait before another attempt to become ready.
const establishPause = 100 * time.Millisecond

// leadershipConfig is what a leadership uses of the rest of the server.
type leadershipConfig struct {
	raft  leadingRaft
	state stateMachine
	// own is the gRPC address of this server.
	own     string
	propose proposeFunc
	// barrier returns when everything that was committed before it is applied here.
	barrier  func(timeout time.Duration) error
	leaders  *leaders
	handover *handover
	voters   leadersVoters
	servers  leadersServers
	fleet    leadersFleet
	// loops are the scheduler's loops, which run until ctx ends.
	loops  func(ctx context.Context)
	logger *slog.Logger
	// running is what the server waits for when it ends.
	running *sync.WaitGroup
}

// proposeFunc puts an op into the log and returns what applying it gave.
type proposeFunc func(ctx context.Context, op *logpb.Op) (fsm.Result, error)

// leadingRaft is raft, as far as a leadership uses it.
type leadingRaft interface {
	State() raft.RaftState
	CurrentTerm() uint64
}

// leadersVoters is what a leader asks the other voters.
type leadersVoters interface {
	// watch asks them how they are until ctx ends.
	watch(ctx context.Context)
	// setClock takes their clocks over if they agree.
	setClock(ctx context.Context)
	// mostFull says that the disks of a majority are full.
	mostFull() bool
}

// leadersServers is what a leader does for the servers of the cluster.
type leadersServers interface {
	// recordSelf records where this server is.
	recordSelf(ctx context.Context) error
	// keep keeps the records in step with Raft's configuration until ctx ends.
	keep(ctx context.Context)
}

// leadersFleet is what a leader knows of the workers.
type leadersFleet interface {
	fsm.Observer
	Begin(sessions []fsm.Session)
	End()
}

// leadership is what this server does as the leader.
type leadership struct {
	cfg leadershipConfig
	// term is that in which this server leads and serves; 0: it does not.
	term atomic.Uint64
}

// follow establishes and revokes leadership in pairs, until ctx ends. Raft tells of each change in
// order: a loss and gain in quick succession is a loss followed by a gain.
func (l *leadership) follow(ctx context.Context, changes <-chan bool) {
	revoke := func() {}
	defer func() { revoke() }()
	for {
		select {
		case <-ctx.Done():
			return
		case leading := <-changes:
			revoke()
			revoke = func() {}
			if leading {
				revoke = l.establish(ctx)
			}
		}
	}
}

// establish starts what a leader does, and returns what ends it. A leader that cannot become
// ready hands leadership over; if nobody takes it, it tries again.
func (l *leadership) establish(ctx context.Context) (revoke func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { l.cfg.voters.watch(ctx) })
	wg.Go(func() {
		for {
			err := l.lead(ctx)
			if err == nil || ctx.Err() != nil {
				return
			}
			l.cfg.logger.Warn("cannot take up leadership", "error", err)
			if err := l.cfg.handover.away(ctx); err != nil {
				l.cfg.logger.Warn("cannot hand leadership over", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(establishPause):
			}
		}
	})
	return func() {
		l.term.Store(0)
		cancel()
		wg.Wait()
	}
}

// lead makes this server ready as a leader and runs the leader's loops until ctx ends.
func (l *leadership) lead(ctx context.Context) error {
	term := l.cfg.raft.CurrentTerm()
	clock := make(chan struct{})
	l.cfg.running.Go(func() {
		l.cfg.voters.setClock(ctx)
		close(clock)
	})
	// Everything that was acknowledged before is applied after this.
	if err := l.cfg.barrier(establishTimeout); err != nil {
		return err
	}
	<-clock
	if l.cfg.raft.CurrentTerm() != term {
		// It was deposed, and is about to hear of it. Until then it must not speak for the term of
		// another leader.
		return nil
	}
	if l.cfg.state.Machine().ClusterID() == "" {
		if err := l.initCluster(ctx); err != nil {
			return err
		}
	}
	// Whoever hears of this leader has to know where it is.
	if err := l.cfg.servers.recordSelf(ctx); err != nil {
		l.cfg.logger.Warn("cannot record where this server is", "error", err)
	}
	l.cfg.fleet.Begin(l.cfg.state.Machine().Sessions())
	l.cfg.state.Machine().SetObserver(l.cfg.fleet)
	defer func() {
		l.term.Store(0)
		l.cfg.state.Machine().SetObserver(nil)
		l.cfg.fleet.End()
		l.cfg.logger.Info("no longer the leader", "term", term)
	}()
	if ctx.Err() != nil {
		return nil
	}
	l.cfg.handover.limit.rest()
	l.term.Store(term)
	l.cfg.leaders.wake()
	l.cfg.logger.Info("leading", "term", term)
	var wg sync.WaitGroup
	wg.Go(func() { l.cfg.servers.keep(ctx) })
	l.cfg.loops(ctx)
	wg.Wait()
	return nil
}

// initCluster gives a new cluster its id.
func (l *leadership) initCluster(ctx context.Context) error {
	id, err := newID()
	if err != nil {
		return err
	}
	_, err = l.cfg.propose(ctx, &logpb.Op{Op: &logpb.Op_InitCluster{InitCluster: &logpb.InitCluster{ClusterId: id}}})
	if task.KindOf(err) == task.KindConflict {
		return nil // another leader was first
	}
	return err
}

// ready says whether this server leads and serves, and in which term.
func (l *leadership) ready() (term uint64, ok bool) {
	term = l.term.Load()
	return term, term != 0
}

// leads says whether this server leads and serves.
func (l *leadership) leads() bool { return l.term.Load() != 0 }

// check returns nil if this server leads and serves, or an error with a hint.
func (l *leadership) check() error {
	if l.leads() {
		return nil
	}
	if l.cfg.raft.State() == raft.Leader {
		// With no room for the first entry of its term it does not become ready.
		if l.cfg.voters.mostFull() {
			err := errMajorityFull()
			err.Leader = l.cfg.own // it may be a matter of milliseconds all the same
			return err
		}
		return &task.Error{Kind: task.KindUnavailable, Msg: "the leader is not ready yet; try again, and where that lasts, " + lookAtDisks, Leader: l.cfg.own, RetryAfter: retryDelay}
	}
	return l.cfg.leaders.notLeader()
}
