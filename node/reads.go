package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftlog"
)

// barrierTimeout bounds how long a Barrier waits for raft's queue.
const barrierTimeout = 5 * time.Second

// barrierGroup lets all reads that wait share one Barrier. A read joins the round that
// begins after it came, never one that is under way: that one would miss what was committed
// between its start and the read's arrival.
type barrierGroup struct {
	mu      sync.Mutex
	running bool
	closed  bool
	next    *barrierRound
	wg      sync.WaitGroup
}

// barrierRound is one Barrier, and those who wait for it.
type barrierRound struct {
	done chan struct{}
	err  error
}

// join returns the round to wait for, and starts it if none is under way.
func (g *barrierGroup) join(barrier func() error) *barrierRound {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		round := &barrierRound{done: make(chan struct{}), err: errClosing()}
		close(round.done)
		return round
	}
	if g.next == nil {
		g.next = &barrierRound{done: make(chan struct{})}
	}
	round := g.next
	if !g.running {
		g.running = true
		g.wg.Go(func() { g.run(barrier) })
	}
	return round
}

// run runs rounds until nobody waits.
func (g *barrierGroup) run(barrier func() error) {
	for {
		g.mu.Lock()
		round := g.next
		g.next = nil
		if round == nil {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		round.err = barrier()
		close(round.done)
	}
}

// close refuses new reads and returns when those that wait have their answer.
func (g *barrierGroup) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

// reads confirms linearizable reads. VerifyLeader of raft would not do, see the package.
type reads struct {
	raft barrierRaft
	// log is raft's, in which each entry names the one before it.
	log interface {
		GetLog(index uint64, l *raft.Log) error
	}
	state stateMachine
	// failure is why nothing is applied any more, or nil.
	failure func() error
	// checkLeader returns an error unless this server leads and serves.
	checkLeader func() error
	leader      leaderErrors
	// fatal ends the server.
	fatal func(error)

	group barrierGroup
}

// barrierRaft is raft, as far as reads use it.
type barrierRaft interface {
	Barrier(timeout time.Duration) raft.Future
}

// barrier returns when everything that was committed before it is applied here.
func (r *reads) barrier(timeout time.Duration) error {
	f := r.raft.Barrier(timeout)
	if err := f.Error(); err != nil {
		return err
	}
	if err := r.failure(); err != nil {
		return err
	}
	return r.check(f)
}

// check checks that the state machine has what the entry of a barrier that has passed
// says is before it. Raft counts as applied what its newest snapshot covers, and a server that
// lacks some of that must not answer for it.
func (r *reads) check(f raft.Future) error {
	at, ok := f.(raft.IndexFuture)
	if !ok {
		return fmt.Errorf("a barrier of raft is a %T", f)
	}
	var l raft.Log
	if err := r.log.GetLog(at.Index(), &l); errors.Is(err, raft.ErrLogNotFound) {
		return nil // a snapshot has come in between
	} else if err != nil {
		return err
	}
	prev, named, err := raftlog.Previous(&l)
	if applied := r.state.Machine().AppliedIndex(); err == nil && named && applied < prev.Index {
		err = fmt.Errorf("this server must stop: raft says that index %d is applied, and the state ends at %d: %s", prev.Index, applied, notWhole)
	}
	if err != nil {
		r.fatal(err)
	}
	return err
}

// confirm returns when everything that was acknowledged anywhere before it was called is
// in this server's state machine, and this server was the leader after it was called. A
// read behind it is linearizable.
func (r *reads) confirm(ctx context.Context) error {
	if err := r.checkLeader(); err != nil {
		return err
	}
	round := r.group.join(func() error { return r.barrier(barrierTimeout) })
	select {
	case <-round.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if round.err != nil {
		return r.leader.readError(round.err)
	}
	return nil
}

// close refuses new reads and returns when those that wait have their answer.
func (r *reads) close() { r.group.close() }
