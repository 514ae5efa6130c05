package client

import (
	"context"
	"encoding/binary"
	"iter"
	"sync"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// intake cuts payloads into batches. A goroutine of its own reads them, so that payloads can go out
// while it waits for the next one. It reads at most one batch ahead.
type intake struct {
	ctx context.Context
	// linger is how long a payload waits for others; 0: until the batch is full.
	linger time.Duration
	// wake tells next of a first payload, a full batch, or the end; taken tells the reader of room.
	wake, taken chan struct{}
	// over ends the wait for a payload, as if it had taken too long.
	over <-chan struct{}

	mu    sync.Mutex
	batch batch
	// limit is the most that a batch holds, bytes; want is how many tasks the one under way must
	// have exactly, 0: as many as fit.
	limit int
	want  uint32
	// read counts the payloads so far.
	read int
	// full: the next payload does not fit. ended: there are no more payloads.
	full, ended bool
	// err is what is wrong with the payloads; panicked is what their iterator panicked with.
	err      error
	panicked any
}

// batch is tasks for one request.
type batch struct {
	count  uint32
	packed []byte
}

func (b *batch) tasks() *rotav1.TaskSet {
	return &rotav1.TaskSet{Count: b.count, PackedPayloads: b.packed}
}

// newIntake begins to read payloads, until there are no more or ctx ends. The first batch has limit bytes
// at most, or want tasks.
func newIntake(ctx context.Context, payloads iter.Seq[[]byte], over <-chan struct{}, linger time.Duration, limit int, want uint32) *intake {
	in := &intake{
		ctx: ctx, over: over, linger: linger, limit: limit, want: want,
		wake: make(chan struct{}, 1), taken: make(chan struct{}, 1),
	}
	go in.readAll(payloads)
	return in
}

// readAll is the reader. A panic of the iterator is that of the caller of next: nobody could
// recover from it here.
func (in *intake) readAll(payloads iter.Seq[[]byte]) {
	defer in.end()
	defer func() {
		if p := recover(); p != nil {
			in.mu.Lock()
			in.panicked = p
			in.mu.Unlock()
		}
	}()
	for p := range payloads {
		if !in.put(p) {
			return
		}
	}
}

func (in *intake) end() {
	in.mu.Lock()
	in.ended = true
	in.mu.Unlock()
	notify(in.wake)
}

// notify leaves a word on a channel with room for one.
func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// put adds a payload. It is false if no more are wanted.
func (in *intake) put(p []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case len(p) > task.MaxPayload:
		in.err = task.Errorf(task.KindTooLarge,
			"the payload of task %d has %d bytes, the limit is %d; put larger data where tasks can read it", in.read, len(p), task.MaxPayload)
	case in.read == task.MaxTasks:
		in.err = task.Errorf(task.KindTooLarge, "more than %d tasks; make several jobs of them", task.MaxTasks)
	}
	if in.err != nil {
		return false
	}
	for !in.fits(p) {
		in.full = true
		in.mu.Unlock()
		notify(in.wake)
		select {
		case <-in.taken:
		case <-in.ctx.Done():
		}
		in.mu.Lock()
		if in.ctx.Err() != nil {
			return false
		}
	}
	in.batch.packed = task.PackAppend(in.batch.packed, p)
	in.batch.count++
	in.read++
	if in.batch.count == 1 || in.batch.count == in.want {
		notify(in.wake)
	}
	return in.ctx.Err() == nil
}

// fits says whether a payload has room in the batch under way.
func (in *intake) fits(p []byte) bool {
	switch b := &in.batch; {
	case b.count == 0:
		return true
	case in.want > 0:
		return b.count < in.want
	default:
		return len(b.packed)+binary.MaxVarintLen32+len(p) <= in.limit
	}
}

// next waits for the next batch: one that is full, or one whose first payload has lingered. last says
// that it is the last one, which may be empty. After idle without a payload, next returns an empty
// batch that is not the last. The batch after it has exactly then tasks; 0: as many as fit.
func (in *intake) next(idle time.Duration, then uint32) (b batch, last bool, err error) {
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for lingers, lingered := false, false; ; {
		b, some, last, err := in.take(lingered, then)
		if err != nil || last || b.count > 0 {
			return b, last, err
		}
		if some && !lingers {
			lingers = true
			timer.Reset(in.linger)
		}
		select {
		case <-in.wake:
		case <-timer.C:
			if !lingers {
				return batch{}, false, nil
			}
			lingered = true
		case <-in.over:
			return batch{}, false, nil
		case <-in.ctx.Done():
			return batch{}, false, in.ctx.Err()
		}
	}
}

// take takes the batch under way if it is due. lingers says that it is not, but will be.
func (in *intake) take(lingered bool, then uint32) (b batch, lingers, last bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.panicked != nil {
		panic(in.panicked)
	}
	if in.err != nil {
		return batch{}, false, false, in.err
	}
	whole := in.full || in.want > 0 && in.batch.count == in.want
	lingers = in.batch.count > 0 && in.linger > 0 && in.want == 0
	if !in.ended && !whole && !(lingers && lingered) {
		return batch{}, lingers, false, nil
	}
	b, last = in.batch, in.ended
	in.batch, in.full, in.want, in.limit = batch{}, false, then, chunkBytes
	notify(in.taken)
	return b, false, last, in.ctx.Err()
}

// bad says that the payloads are at fault.
func (in *intake) bad() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err != nil
}
