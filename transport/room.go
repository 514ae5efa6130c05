package transport

import (
	"context"
	"sync"
)

// cost is what something unanswered takes.
type cost struct{ messages, tasks, bytes int }

// room is what of a stream may be unanswered. What is taken comes back when the answer was
// sent, so that who does not read answers is not read either.
type room struct {
	limit cost

	mu      sync.Mutex
	changed *sync.Cond
	taken   cost
}

func newRoom(limit cost) *room {
	r := &room{limit: limit}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// take waits until there is room. What is larger than all there is waits until it is alone.
func (r *room) take(ctx context.Context, c cost) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fits(c) {
		stop := context.AfterFunc(ctx, r.wake)
		defer stop()
	}
	for !r.fits(c) {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.changed.Wait()
	}
	r.taken = cost{r.taken.messages + c.messages, r.taken.tasks + c.tasks, r.taken.bytes + c.bytes}
	return nil
}

// wake lets those look again who wait. It takes the lock, or one that is about to wait would
// miss it.
func (r *room) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed.Broadcast()
}

func (r *room) fits(c cost) bool {
	return r.taken == cost{} ||
		r.taken.messages+c.messages <= r.limit.messages && r.taken.tasks+c.tasks <= r.limit.tasks && r.taken.bytes+c.bytes <= r.limit.bytes
}

// free gives back what was taken.
func (r *room) free(c cost) {
	r.mu.Lock()
	r.taken = cost{r.taken.messages - c.messages, r.taken.tasks - c.tasks, r.taken.bytes - c.bytes}
	r.mu.Unlock()
	r.changed.Broadcast()
}
