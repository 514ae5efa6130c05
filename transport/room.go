package transport

import (
	"context"
	"sync"
)

// cost is what an unanswered message takes.
type cost struct{ messages, tasks, bytes int }

// room bounds what of a stream may be unanswered. A message gives back what it took when its answer is sent. So a
// client that does not read answers is not read either.
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

// take waits until there is room. A cost that is larger than the whole room waits until it is the only one.
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

// wake lets all who wait look again. It takes the lock: otherwise one that is about to wait would miss it.
func (r *room) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed.Broadcast()
}

func (r *room) fits(c cost) bool {
	return r.taken == cost{} ||
		r.taken.messages+c.messages <= r.limit.messages && r.taken.tasks+c.tasks <= r.limit.tasks && r.taken.bytes+c.bytes <= r.limit.bytes
}

// free gives back what take took.
func (r *room) free(c cost) {
	r.mu.Lock()
	r.taken = cost{r.taken.messages - c.messages, r.taken.tasks - c.tasks, r.taken.bytes - c.bytes}
	r.mu.Unlock()
	r.changed.Broadcast()
}
