package transport

import (
	"context"
	"sync"
	"time"
)

// maxRest bounds the pause after a costly question. The pause is as long as the question took, so that clients who
// ask without a break take at most half of a server's time.
const maxRest = time.Second

// rounds asks a costly question once at a time, for any number of callers. Callers that come while it is being asked
// share the next round: no answer is older than the call that gets it.
type rounds[T any] struct {
	// ask bounds its own time: it has several callers, and so not the context of one of them.
	ask func() (T, error)
	// stopping ends the pauses, and running is the rounds under way.
	stopping context.Context
	running  *sync.WaitGroup

	mu   sync.Mutex
	next *round[T]
	// The round under way holds turn; rested is when the next one may begin.
	turn   chan struct{}
	rested time.Time
}

// round is one answer; done is closed when it is there.
type round[T any] struct {
	done   chan struct{}
	answer T
	err    error
}

func newRounds[T any](stopping context.Context, running *sync.WaitGroup, ask func() (T, error)) *rounds[T] {
	return &rounds[T]{ask: ask, stopping: stopping, running: running, turn: make(chan struct{}, 1)}
}

// do waits for the answer of a round that begins from now on.
func (r *rounds[T]) do(ctx context.Context) (T, error) {
	n, first := r.join()
	if first {
		r.running.Go(func() { r.run(n) })
	}
	select {
	case <-n.done:
		return n.answer, n.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// join returns the next round. Its first caller starts it. It does not end with that caller, because others wait for it.
func (r *rounds[T]) join() (n *round[T], first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first = r.next == nil; first {
		r.next = &round[T]{done: make(chan struct{})}
	}
	return r.next, first
}

// rest waits until the next round may begin.
func (r *rounds[T]) rest() {
	timer := time.NewTimer(time.Until(r.rested))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.stopping.Done():
	}
}

func (r *rounds[T]) run(n *round[T]) {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	r.rest()
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	began := time.Now()
	n.answer, n.err = r.ask()
	r.rested = time.Now().Add(min(time.Since(began), maxRest))
	close(n.done)
}
