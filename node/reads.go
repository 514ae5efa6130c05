package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/task"
)

// barrierTimeout bounds how long a Barrier waits for raft's queue.
const barrierTimeout = 5 * time.Second

// barrierGroup lets all reads that wait share one Barrier. A read joins the round that
// begins after it came, never one that is under way: what was committed between that
// one's start and the read's arrival would be missing.
type barrierGroup struct {
	mu      sync.Mutex
	running bool
	closed  bool
	next    *barrierRound
	wg      sync.WaitGroup
}

type barrierRound struct {
	done chan struct{}
	err  error
}

// join returns the round to wait for, and starts it where none is under way.
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

// barrier returns when everything that was committed before it is applied here.
func (n *Node) barrier(timeout time.Duration) error {
	f := n.raft.Barrier(timeout)
	if err := f.Error(); err != nil {
		return err
	}
	if err := n.applier.failure(); err != nil {
		return err
	}
	return n.checkBarrier(f)
}

// checkBarrier checks that the state machine has what the entry of a barrier that has passed
// says is before it. Raft counts as applied what its newest snapshot covers, and a server that
// lacks some of that must not answer for it.
func (n *Node) checkBarrier(f raft.Future) error {
	at, ok := f.(raft.IndexFuture)
	if !ok {
		return fmt.Errorf("a barrier of raft is a %T", f)
	}
	var l raft.Log
	if err := n.chain.GetLog(at.Index(), &l); errors.Is(err, raft.ErrLogNotFound) {
		return nil // a snapshot has come in between
	} else if err != nil {
		return err
	}
	prev, named, err := raftlog.Previous(&l)
	if applied := n.state.Machine().AppliedIndex(); err == nil && named && applied < prev.Index {
		err = fmt.Errorf("this server must stop: raft says that index %d is applied, and the state ends at %d: %s", prev.Index, applied, notWhole)
	}
	if err != nil {
		n.fatal(err)
	}
	return err
}

// Barrier returns when everything that was acknowledged anywhere before it was called is
// in this server's state machine, and this server was the leader after it was called. A
// read behind it is linearizable.
func (n *Node) Barrier(ctx context.Context) error {
	if err := n.CheckLeader(); err != nil {
		return err
	}
	round := n.reads.join(func() error { return n.barrier(barrierTimeout) })
	select {
	case <-round.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if round.err != nil {
		return n.readError(round.err)
	}
	return nil
}

// readError is the error for a read that could not be confirmed. A read has no effect,
// so it never ends in an unknown outcome.
func (n *Node) readError(err error) error {
	return &task.Error{Kind: task.KindUnavailable, Msg: "leadership could not be confirmed; try again", Leader: n.LeaderAddr(), RetryAfter: retryDelay, Err: err}
}

// WaitApplied returns when this server's state machine has reached index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	reached, forget := n.applier.waiter(index)
	defer forget()
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return &task.Error{Kind: task.KindUnavailable, Msg: "the server is shutting down"}
	}
}
