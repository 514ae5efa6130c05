package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/scheduler"
)

// Node is one running server.
type Node struct {
	cfg  Config
	id   identity
	lock *os.File

	log       *raftlog.Log
	chain     *raftlog.Chain
	state     *store.State
	snapshots *store.Snapshots
	flusher   *store.Flusher
	applier   *applier
	raft      *raft.Raft
	transport *raftnet.Transport
	proposer  *proposer
	fleet     *scheduler.Fleet
	reads     barrierGroup
	leaders   leaderCast

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	fatal  func(error)

	// ready is the term in which this server leads and serves; 0: it does not.
	ready atomic.Uint64
	// outOfSpace is true while the disk has little space left, and majorityFull while this
	// server leads and a majority of the disks is full.
	outOfSpace, majorityFull atomic.Bool
	// caughtUp: see CaughtUp.
	caughtUp atomic.Bool

	// snapshotCh has an element when a snapshot is due; average is the size of entries since
	// the one before, bytes.
	snapshotCh chan struct{}
	average    atomic.Int64
	// reloading is held while raft's configuration is changed.
	reloading sync.Mutex
	notify    chan bool

	// nonce was made with the process, by which it knows itself.
	nonce string
	addrs addrBook
	// members has an element while the servers of the cluster are being changed: one change at
	// a time.
	members chan struct{}
	joins   joins
	problem problem
	// waits is what this server waits for to be part of a cluster.
	waits atomic.Pointer[string]
	// transfers is those of leadership that are asked for.
	transfers transfers
	// places has an element when servers are elsewhere, or there are others.
	places chan struct{}
}

// notifyBuffer is how many changes of leadership may wait to be handled. Raft stands
// still while the channel is full.
const notifyBuffer = 64

// Start opens the data folder, checks it, and starts the server. It returns before a
// leader is known.
func Start(cfg Config) (started *Node, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, snapshotCh: make(chan struct{}, 1), notify: make(chan bool, notifyBuffer), places: make(chan struct{}, 1), members: make(chan struct{}, 1)}
	if n.nonce, err = newID(); err != nil {
		return nil, err
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	var once sync.Once
	n.fatal = func(err error) { once.Do(func() { cfg.Fatal(err) }) }
	defer func() {
		if err != nil {
			n.cancel()
			err = errors.Join(err, n.closeFiles())
		}
	}()
	if err := n.openFiles(); err != nil {
		return nil, err
	}
	n.fleet = scheduler.NewFleet(cfg.LeaseTimeout)
	n.flusher = store.NewFlusher(n.state)
	n.applier = &applier{n: n, waiters: map[chan struct{}]uint64{}}
	n.applier.reached()
	if err := n.startRaft(); err != nil {
		return nil, err
	}
	n.proposer = newProposer(n)
	n.wg.Go(n.runFlusher)
	n.wg.Go(n.runSnapshots)
	n.wg.Go(func() { n.transport.WatchLeader(n.ctx) })
	n.wg.Go(n.watchDisk)
	n.wg.Go(n.watchSpace)
	n.wg.Go(n.followLeadership)
	n.wg.Go(n.castLeaders)
	n.wg.Go(n.bootstrapOrJoin)
	n.wg.Go(n.catchUp)
	return n, nil
}

// openFiles opens everything in the data folder and checks it against each other.
func (n *Node) openFiles() (err error) {
	if n.lock, err = lockDir(n.cfg.DataDir); err != nil {
		return err
	}
	if n.id, err = loadIdentity(n.cfg.DataDir, n.cfg.NodeID); err != nil {
		return err
	}
	if err := n.openLog(); err != nil {
		return err
	}
	id := store.Identity{NodeID: n.id.NodeID, ServerID: n.id.ServerID}
	if n.state, err = store.OpenState(n.cfg.DataDir, id, n.cfg.Logger); err != nil {
		return n.explainState(err)
	}
	n.state.OnCorrupt(func(err error) {
		if errors.Is(err, fsm.ErrTooOld) {
			err = mustStop(err)
		}
		n.fatal(n.explainState(err))
	})
	if n.snapshots, err = store.OpenSnapshots(n.state, n.cfg.Logger); err != nil {
		return fmt.Errorf("%w; restore the data folder, or move it away and let the server join anew", err)
	}
	return n.checkFiles()
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
	n.transport = raftnet.New(raftnet.Config{
		Self: n.id.raftID(), Addr: n.cfg.PeerAddr, Listener: n.cfg.RaftListener, Base: n.cfg.RaftTransport,
		ClusterID: func() string { return n.state.Machine().ClusterID() }, Ask: n.askTrusted,
		ElectionTimeout: n.cfg.ElectionTimeout, Logger: n.cfg.Logger,
	})
	snapshot := func() uint64 { at, _ := n.snapshots.Newest(); return at.Index }
	if n.chain, err = n.log.Chain(n.applier.place, snapshot); err != nil {
		return err
	}
	n.raft, err = raft.NewRaft(n.cfg.raftConfig(n.id.raftID(), n.notify), n.applier, n.chain, n.log.Stable(), n.snapshots, n.transport)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	n.transport.Attach(n.raft, n.reload)
	n.log.RaftRuns()
	return nil
}

func (n *Node) runFlusher() {
	if err := n.flusher.Run(n.ctx); err != nil {
		n.fatal(fmt.Errorf("state.db: %w", err))
	}
}

// Shutdown hands leadership over where this server has it, answers what waits, writes
// the state, and closes everything. Where ctx ends first, as on a disk that stalls, the
// server is left as it is: its process is to end.
func (n *Node) Shutdown(ctx context.Context) error {
	if n.raft.State() == raft.Leader {
		if err := n.transferLeadership(ctx, n.raft.LeadershipTransfer); err != nil {
			n.cfg.Logger.Info("leadership was not handed over", "error", err)
		}
	}
	done := make(chan error, 1)
	go func() {
		n.proposer.close()
		done <- errors.Join(n.stop(), n.state.Close(), n.closeLog())
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the server did not end in time: %w", ctx.Err())
	}
}

// Kill ends the server as a crash would, but for what the operating system keeps: for
// simulations.
func (n *Node) Kill() error {
	n.proposer.abort()
	return errors.Join(n.stop(), n.state.Abandon(), n.closeLog())
}

// settleTimeout bounds how long raft goes on for the sake of what waits for it.
const settleTimeout = 2 * time.Second

// stop ends everything that runs. Raft is the last to go: what it has committed but not
// yet applied when it ends is never answered, and whoever waits for it would wait
// forever. What it cannot commit is answered when it ends, so that is not waited for
// for long.
func (n *Node) stop() error {
	n.cancel()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		n.proposer.wait()
		n.wg.Wait()
		n.reads.close()
	}()
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
	}
	err := n.raft.Shutdown().Error()
	<-settled
	n.fleet.End()
	return errors.Join(err, n.transport.Close())
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

// transferLeadership waits for a transfer, as long as ctx lasts.
func (n *Node) transferLeadership(ctx context.Context, transfer func() raft.Future) error {
	done := make(chan error, 1)
	// Raft answers it, within about an election timeout, unless it is stuck itself.
	n.wg.Go(func() { done <- transfer().Error() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// State is the server's copy of the replicated state.
func (n *Node) State() *store.State { return n.state }

// Fleet is what this server knows of the workers while it leads.
func (n *Node) Fleet() *scheduler.Fleet { return n.fleet }

// Now is the state machine's time, Unix ns.
func (n *Node) Now() int64 { return n.applier.clock.now() }

// NodeID is the server's node id.
func (n *Node) NodeID() string { return n.id.NodeID }

// Context ends when the server shuts down.
func (n *Node) Context() context.Context { return n.ctx }
