package transport

import (
	"context"
	"sync"
	"time"
)

// maxRest bounds how long a costly question rests behind its answer. It rests for as long as it took,
// so that whoever asks without pause takes half of a server's time at most, while
// nobody waits long for it.
const maxRest = time.Second

// rounds asks a costly question once at a time, however many want to know. Whoever comes while it
// is being asked shares the next round with all others that wait: no answer is older than
// the wish for it.
type rounds[T any] struct {
	// ask bounds itself: it is asked for several, and so not with the context of one.
	ask func() (T, error)
	// stopping ends the rests, and running is the rounds under way.
	stopping context.Context
	running  *sync.WaitGroup

	mu   sync.Mutex
	next *round[T]
	// turn is held by the round under way, and rested says when the next one may begin.
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

// join returns the next round. Who is the first of it has it run, which ends with no caller: others
// wait for it.
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
