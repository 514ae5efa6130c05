package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/scheduler"
)

// openFiles opens everything in the data folder and checks it against each other.
func (n *Node) openFiles() (err error) {
	if n.lock, err = lockDir(n.cfg.DataDir); err != nil {
		return err
	}
	if n.id, err = loadIdentity(n.cfg.DataDir, n.cfg.NodeID); err != nil {
		return err
	}
	nonce, err := newID()
	if err != nil {
		return err
	}
	n.self = newSelf(n.id, &n.cfg, nonce)
	if err := n.openLog(); err != nil {
		return err
	}
	id := store.Identity{NodeID: n.id.NodeID, ServerID: n.id.ServerID}
	if n.state, err = store.OpenState(n.cfg.DataDir, id, n.cfg.Logger); err != nil {
		return explainState(n.cfg.DataDir, err)
	}
	n.state.MeasureBy(time.Now)
	n.state.OnCorrupt(func(err error) {
		if errors.Is(err, fsm.ErrTooOld) {
			err = mustStop(err)
		}
		n.fatal(explainState(n.cfg.DataDir, err))
	})
	if n.snapshots, err = store.OpenSnapshots(n.state, n.cfg.Logger); err != nil {
		return fmt.Errorf("%w; restore the data folder, or move it away and let the server join anew", err)
	}
	check := startCheck{log: n.log, state: n.state, snapshots: n.snapshots, logger: n.cfg.Logger}
	if err := check.run(); err != nil {
		return err
	}
	n.flusher = store.NewFlusher(n.state)
	n.space = &diskSpace{dir: n.cfg.DataDir, state: n.flusher, log: n.log}
	return nil
}

// openLog opens the log, and notes that there is one: a server without the log that it had must not start.
func (n *Node) openLog() (err error) {
	n.log, err = raftlog.Open(raftlog.Config{
		Dir: n.cfg.DataDir, Kind: cmp.Or(n.cfg.LogStore, n.id.LogStore), Made: n.id.HasLog, Stores: n.cfg.Stores,
		Fatal: n.fatal, Ending: n.ctx.Done(), Logger: n.cfg.Logger, WALLogger: raftnet.NewLogger(n.cfg.Logger),
	})
	if err != nil || n.cfg.Stores != nil {
		return err
	}
	if kind := n.log.Kind(); !n.id.HasLog || n.id.LogStore != kind {
		n.id.HasLog, n.id.LogStore = true, kind
		return writeIdentity(n.cfg.DataDir, n.id)
	}
	return nil
}

func (n *Node) closeLog() error {
	return errors.Join(n.log.Close(), n.lock.Close())
}

// closeFiles closes what a failed Start had opened.
func (n *Node) closeFiles() error {
	var errs []error
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.state != nil {
		errs = append(errs, n.state.Abandon())
	}
	if n.log != nil {
		errs = append(errs, n.log.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// startRaft starts raft on the log, with the transport and the state machine. What raft calls from here on is
// made before raft, or before the transport lets other servers in.
func (n *Node) startRaft() (err error) {
	defer func() {
		// Raft panics on a log that it cannot read.
		if p := recover(); p != nil {
			err = fmt.Errorf("start raft: the log is not whole: %v", p)
			if !strings.Contains(err.Error(), raftlog.CorruptAdvice) {
				err = fmt.Errorf("%w; %s", err, raftlog.CorruptAdvice)
			}
		}
	}()
	n.applier = newApplier(applierConfig{
		state: n.state, received: n.snapshots, flusher: n.flusher, clock: n.clock, ending: n.ctx,
		snapshotBytes: n.cfg.SnapshotBytes, snapshotDue: n.snapshotRequests.measured,
		placesChanged: func() {
			n.where.record(n.state.Machine().Servers())
			select {
			case n.places <- struct{}{}:
			default:
			}
		},
		fatal: n.fatal,
	})
	n.transport = raftnet.New(raftnet.Config{
		Self: n.self.id, Addr: n.cfg.PeerAddr, Listener: n.cfg.RaftListener, Dial: n.cfg.RaftDial, Base: n.cfg.RaftTransport,
		ClusterID: func() string { return n.state.Machine().ClusterID() }, Ask: func(ctx context.Context) { n.inquiry.askTrusted(ctx) },
		Removed:         func(id raft.ServerID) bool { return n.directory.removed(id) },
		ElectionTimeout: n.cfg.ElectionTimeout, Logger: n.cfg.Logger,
		Where: n.where.peerAddr, FoundBy: n.where.isFoundBy,
	})
	n.where.record(n.state.Machine().Servers())
	snapshot := func() uint64 { at, _ := n.snapshots.Newest(); return at.Index }
	if n.chain, err = n.log.Chain(n.applier.place, snapshot); err != nil {
		return err
	}
	n.raft, err = raft.NewRaft(n.cfg.raftConfig(n.self.id, n.notify), n.applier, n.chain, n.log.Stable(), n.snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	n.settings = &raftSettings{raft: n.raft}
	n.directory = &directory{self: n.self, raft: n.raft, state: n.state, where: n.where}
	n.inquiry = &inquiry{
		self: n.self, directory: n.directory, peers: n.cfg.Peers, join: n.cfg.Join, lookup: n.cfg.Lookup, learned: n.transport.Learn, logger: n.cfg.Logger,
	}
	n.transport.Attach(n.raft, n.settings.change)
	n.log.RaftRuns()
	return nil
}

// assemble makes the components that use raft, each after those that it uses. None of them runs yet, but for
// the proposer, which has nothing to do.
func (n *Node) assemble() {
	logger := n.cfg.Logger
	n.fleet = scheduler.NewFleet(n.cfg.LeaseTimeout)
	n.compaction = &compaction{
		requests: n.snapshotRequests, raft: n.raft, settings: n.settings, newest: n.snapshots.Newest,
		log: n.log, held: n.transport.Trailing, free: n.space.free,
		snapshotBytes: n.cfg.SnapshotBytes, trailingBytes: n.cfg.TrailingBytes, snapshotEntries: n.cfg.SnapshotEntries, logger: logger,
	}
	n.leaders = &leaders{
		raft: n.raft, votes: n.directory.votes, addrOf: n.directory.addrOf, diskFull: n.space.full, electionTimeout: n.cfg.ElectionTimeout,
	}
	n.handover = &handover{
		self: n.self.id, raft: n.raft, servers: n.directory.servers, leader: n.leaders, electionTimeout: n.cfg.ElectionTimeout,
		logger: logger, ending: n.ctx, running: &n.wg,
	}
	n.watchdog = &watchdog{
		raft: n.raft, writing: n.log.Writing, applying: n.applier.applying, diskFull: n.space.full, stateFull: n.flusher.Full,
		handOver: n.handover.begin, stallTimeout: n.cfg.StallTimeout, logger: logger, fatal: n.fatal,
	}
	n.voters = &voterWatch{
		self: n.self.id, servers: n.directory.servers, identify: n.inquiry.identify, clock: n.clock, diskFull: n.space.full,
		handOver: n.handover.begin, logger: logger, running: &n.wg,
	}
	n.assembleRequests()
	n.assembleServers()
	n.leadership.cfg = leadershipConfig{
		raft: n.raft, state: n.state, own: n.self.addr, propose: n.requests.propose, barrier: n.reads.barrier,
		leaders: n.leaders, handover: n.handover, voters: n.voters, servers: n.members, fleet: n.fleet,
		loops: n.runLoops, logger: logger, running: &n.wg,
	}
}

// assembleRequests makes what serves requests.
func (n *Node) assembleRequests() {
	n.leadership = &leadership{}
	n.proposer = newProposer(proposerConfig{
		raft: n.raft, state: n.state, clock: n.clock, leader: n.leaders, entriesInFlight: n.cfg.EntriesInFlight,
	})
	n.requests = &requests{
		proposer: n.proposer, state: n.state, place: n.fleet.Place, leads: n.leadership.leads,
		diskFull: n.space.full, majorityFull: n.voters.mostFull, behind: n.flusher.Overloaded, stallTimeout: n.cfg.StallTimeout,
	}
	n.reads = &reads{
		raft: n.raft, log: n.chain, state: n.state, failure: n.applier.failure, checkLeader: n.leadership.check, leader: n.leaders, fatal: n.fatal,
	}
}

// assembleServers makes what is about the servers of the cluster.
func (n *Node) assembleServers() {
	lock := newMembersLock()
	n.members = &membership{
		self: n.self, raft: n.raft, state: n.state, directory: n.directory, identify: n.inquiry.identify, probe: n.cfg.Peers.Probe,
		contact: n.transport, propose: n.requests.propose, checkLeader: n.leadership.check, leader: n.leaders,
		version: &versionRise{
			self: n.self.id, knows: n.self.knows, servers: n.directory.servers, identify: n.inquiry.identify, state: n.state,
			aboutToVote: func(s raft.Server) bool { return n.members.aboutToVote(s) },
			propose:     n.requests.propose, lock: lock, logger: n.cfg.Logger,
		},
		handOver: func(ctx context.Context) error { return n.handover.transfer(ctx, "") },
		logger:   n.cfg.Logger, lock: lock,
	}
	n.departure = &departure{
		self: n.self, dir: n.cfg.DataDir, identity: n.id, directory: n.directory, state: n.state, logger: n.cfg.Logger, done: make(chan struct{}),
	}
	n.joiner = &joiner{
		self: n.self, raft: n.raft, directory: n.directory, inquiry: n.inquiry, expect: n.cfg.BootstrapExpect,
		found: n.leaders.wake, info: n.Self, depart: n.departure.depart, logger: n.cfg.Logger,
	}
	n.search = &search{
		self: n.self, raft: n.raft, directory: n.directory, inquiry: n.inquiry, where: n.where, leaders: n.leaders,
		silence: n.members.silence, info: n.Self, logger: n.cfg.Logger,
	}
	n.reception = &reception{search: n.search, probe: n.cfg.Peers.Probe, joiner: n.joiner}
	n.catchUp = &catchUp{
		self: n.self.id, raft: n.raft, leads: n.leadership.leads, identify: n.inquiry.identify, wait: n.applier.wait,
	}
	n.announcer = &announcer{
		self: n.self, raft: n.raft, directory: n.directory, inquiry: n.inquiry, leaders: n.leaders, caughtUp: n.catchUp.done.Load,
		info: n.Self, depart: n.departure.depart, logger: n.cfg.Logger,
	}
}

// runLoops runs the scheduler's loops until ctx ends.
func (n *Node) runLoops(ctx context.Context) {
	loops := &scheduler.Loops{
		Proposer: n, State: n.state, Fleet: n.fleet, Logger: n.cfg.Logger,
		RetentionInterval: n.cfg.RetentionInterval, RetentionBytes: n.cfg.RetentionBytes,
		Settled: n.clock.settled, Behind: n.flusher.Behind,
	}
	loops.Run(ctx)
}
