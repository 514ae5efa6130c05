package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/scheduler"
)

// Node is one running server: it puts the components together, starts them and ends them. Each component
// has its own state, and small interfaces for what it uses of the others.
type Node struct {
	cfg  Config
	self *self

	// What is in the data folder.
	id        identity
	lock      *os.File
	log       *raftlog.Log
	chain     *raftlog.Chain
	state     *store.State
	snapshots *store.Snapshots
	flusher   *store.Flusher
	space     *diskSpace

	// Raft, and what drives it.
	raft       *raft.Raft
	settings   *raftSettings
	transport  *raftnet.Transport
	applier    *applier
	clock      *stateClock
	compaction *compaction
	watchdog   *watchdog

	// Requests.
	proposer *proposer
	requests *requests
	reads    *reads
	fleet    *scheduler.Fleet

	// Who leads, and what the leader does.
	leaders    *leaders
	leadership *leadership
	handover   *handover
	voters     *voterWatch

	// Which servers there are, and how this one becomes and stays a part of them.
	directory *directory
	where     *whereabouts
	inquiry   *inquiry
	search    *search
	reception *reception
	members   *membership
	joiner    *joiner
	announcer *announcer
	catchUp   *catchUp
	departure *departure

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	fatal  func(error)

	// snapshotRequests, notify and places are there before raft, which puts something in.
	snapshotRequests *snapshotRequests
	// notify has raft's changes of leadership.
	notify chan bool
	// places has an element if servers have moved, or there are others.
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
	n := &Node{
		cfg: cfg, clock: &stateClock{}, snapshotRequests: newSnapshotRequests(),
		notify: make(chan bool, notifyBuffer), places: make(chan struct{}, 1), where: &whereabouts{},
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
	if err := n.startRaft(); err != nil {
		return nil, err
	}
	n.assemble()
	n.run()
	return n, nil
}

// run starts what goes on until the server ends.
func (n *Node) run() {
	n.wg.Go(func() {
		if err := n.flusher.Run(n.ctx); err != nil {
			n.fatal(fmt.Errorf("state.db: %w", err))
		}
	})
	n.wg.Go(func() { n.compaction.run(n.ctx) })
	n.wg.Go(func() { n.transport.WatchLeader(n.ctx) })
	n.wg.Go(func() { n.watchdog.run(n.ctx) })
	// More of the log may be kept than the configuration says, which has no place on a disk that is full.
	n.wg.Go(func() { n.space.watch(n.ctx, n.snapshotRequests.ask) })
	n.wg.Go(func() { n.leadership.follow(n.ctx, n.notify) })
	n.wg.Go(func() { n.leaders.watch(n.ctx, n.places, func() { n.inquiry.ask(n.ctx) }) })
	n.wg.Go(func() {
		n.joiner.run(n.ctx, func() { n.wg.Go(func() { n.announcer.run(n.ctx) }) })
	})
	n.wg.Go(func() { n.search.run(n.ctx) })
	n.wg.Go(func() { n.catchUp.run(n.ctx) })
	n.wg.Go(func() { n.departure.run(n.ctx) })
}

// Shutdown hands leadership over if this server has it, answers what waits, writes
// the state, and closes everything. If ctx ends first, as on a disk that stalls, the
// server is left as it is: its process has to end.
func (n *Node) Shutdown(ctx context.Context) error {
	if n.raft.State() == raft.Leader {
		if err := n.handover.away(ctx); err != nil {
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

// Kill ends the server as a crash would, except that what the operating system has of the files stays:
// for simulations.
func (n *Node) Kill() error {
	n.proposer.abort()
	return errors.Join(n.stop(), n.state.Abandon(), n.closeLog())
}

// settleTimeout bounds how long raft goes on for the sake of what waits for it.
const settleTimeout = 2 * time.Second

// stop ends everything that runs. Raft ends last: it never answers what it has committed but not
// yet applied when it ends, and whoever waits for that would wait forever. What it cannot commit
// it answers when it ends, so stop does not wait long for that.
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
