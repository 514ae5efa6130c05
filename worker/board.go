package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/command"
)

// board is what this worker holds: tasks that wait for a slot, tasks that run, and
// tasks whose reports are not answered. Whatever asks "where is this task?" asks
// here.
type board struct {
	out *outbox
	// mayStart says that an exclusive task may start now: its lease is long enough.
	mayStart func() bool
	// workCame is called when tasks arrive, exclusiveCame when exclusive ones do. They must not
	// block.
	workCame, exclusiveCame func()

	mu   sync.Mutex
	work *sync.Cond
	// idle is how many slots wait in next.
	idle int
	// plain and exclusive are what waits, each in order of arrival. They are two,
	// because a lease can hold up one and not the other.
	plain, exclusive spanQueue
	arrivals         uint64
	slots            []*slot
	// held is all tasks that are here, from their arrival until their reports are
	// answered.
	held map[key]*indexSet
	// count is how many those are.
	count int
	// exclusives is how many exclusive tasks wait or run; ending is how many of those
	// that run were given up, so that no other exclusive task may start before they
	// have ended.
	exclusives, ending int
	// draining says that nothing new is started, paused, that nothing is for now, closed, that the
	// slots end.
	draining, paused, closed bool
	// taken is how many tasks slots have ever taken, and looks what it was at the last looks of
	// relieve, the oldest of which is at look.
	taken uint64
	looks [looksPerPatience]uint64
	look  int
}

// run is one attempt in a slot.
type run struct {
	task Task
	key  key
	work *work
	ctx  runContext
	// started is when the slot took it, on monoNow.
	started time.Duration
	// silent says that nothing is to be reported: the task is another worker's.
	silent atomic.Bool
	// ending says that it counts in board.ending. The board's lock guards it.
	ending bool
}

func newRun(ctx context.Context) *run { return &run{ctx: runContext{parent: ctx}} }

func newBoard(slots int, out *outbox) *board {
	b := &board{
		out: out, held: map[key]*indexSet{}, slots: make([]*slot, slots),
		mayStart: func() bool { return true }, workCame: func() {}, exclusiveCame: func() {},
	}
	b.work = sync.NewCond(&b.mu)
	for i := range b.slots {
		b.slots[i] = &slot{command: command.Slot{Number: i}}
	}
	return b
}

// assign queues what the leader granted, without what is held already: after a new
// attach the leader may send everything again.
func (b *board) assign(spans []*span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := monoNow()
	before := b.exclusives
	tasks := 0
	for _, s := range spans {
		whole := indexRange{s.next, s.end}
		held := b.heldSet(s.key)
		var fresh []indexRange
		held.each(whole, func(part indexRange, in bool) {
			if !in {
				fresh = append(fresh, part)
			}
		})
		b.keep(held, whole)
		if b.draining || b.paused {
			b.out.addRanges(s.key, fresh, &result{kind: returned})
			continue
		}
		for _, r := range fresh {
			part := s.part(r)
			part.arrived = now
			part.order = b.arrivals
			b.arrivals++
			tasks += part.len()
			b.queueFor(part.work).push(part)
			if part.work.Exclusive {
				b.exclusives += part.len()
			}
		}
	}
	for range min(tasks, b.idle) {
		b.work.Signal()
	}
	if tasks > 0 {
		b.workCame()
	}
	if b.exclusives > before {
		b.exclusiveCame()
	}
}

// refuse reports tasks that cannot be run here, and that are not held already.
func (b *board) refuse(k key, r indexRange, res *result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.heldSet(k)
	var fresh []indexRange
	held.each(r, func(part indexRange, in bool) {
		if !in {
			fresh = append(fresh, part)
		}
	})
	b.keep(held, r)
	b.out.addRanges(k, fresh, res)
}

func (b *board) queueFor(w *work) *spanQueue {
	if w.Exclusive {
		return &b.exclusive
	}
	return &b.plain
}

func (b *board) heldSet(k key) *indexSet {
	s := b.held[k]
	if s == nil {
		s = &indexSet{}
		b.held[k] = s
	}
	return s
}

// keep counts tasks as held from now on.
func (b *board) keep(held *indexSet, r indexRange) {
	b.count += int(r.end-r.first) - held.count(r)
	held.add(r)
}

// maxHeld is more than a leader ever gives one worker, with what it has given before and
// was not answered for. A server that goes beyond it is none of ours. It is less than a
// hello may name.
const maxHeld = 3 * (task.MaxSlots + task.MaxOutstanding)

// overfull says that there is more here than any worker may hold.
func (b *board) overfull() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count > maxHeld
}

// next ends what the slot ran and waits for its next task, which it puts into r.
// It returns false when the worker ends.
func (b *board) next(s *slot, r *run) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retire(s)
	for !b.closed {
		if q := b.pick(); q != nil {
			head := q.head()
			head.take(r)
			q.tasks.Add(-1)
			b.taken++
			if head.len() == 0 {
				q.pop()
			}
			r.started = monoNow()
			s.current = r
			return true
		}
		b.idle++
		b.work.Wait()
		b.idle--
	}
	return false
}

// free ends what the slot ran, when it does not go on at once.
func (b *board) free(s *slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retire(s)
}

func (b *board) retire(s *slot) {
	r := s.current
	if r == nil {
		return
	}
	s.current = nil
	if !r.work.Exclusive {
		return
	}
	b.exclusives--
	if r.ending {
		b.ending--
		if b.ending == 0 {
			b.work.Broadcast()
		}
	}
}

// pick returns the queue whose head is to start next, or nil.
func (b *board) pick() *spanQueue {
	plain, exclusive := b.plain.head(), b.exclusive.head()
	if exclusive != nil && (plain == nil || exclusive.order < plain.order) && b.ending == 0 && b.mayStart() {
		return &b.exclusive
	}
	if plain != nil {
		return &b.plain
	}
	return nil
}

// reserve is how many tasks wait for a slot and for nothing else.
func (b *board) reserve() int { return int(b.plain.tasks.Load()) }

// recheck wakes the slots to look again: the lease was renewed.
func (b *board) recheck() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.exclusive.head() != nil {
		b.work.Broadcast()
	}
}

// answered lets go of tasks whose reports were answered, whatever the verdict.
func (b *board) answered(groups []*rotav1.ReportGroup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range groups {
		b.release(key{g.GetJobId(), g.GetTokenOffset()}, g.GetRanges())
	}
}

func (b *board) release(k key, ranges []*rotav1.IndexRange) {
	s := b.held[k]
	if s == nil {
		return
	}
	for _, r := range ranges {
		if r, ok := rangeOf(r); ok {
			b.count -= s.count(r)
			s.remove(r)
		}
	}
	if s.empty() {
		delete(b.held, k)
	}
}

// stop ends tasks at the leader's wish. Those that wait are reported as stopped at
// once, those that run are told to end. One that is not here cannot run here, so
// its stop is confirmed as well; until that is answered it counts as held, so that
// an assignment that comes late does not start it.
func (b *board) stop(tasks []*rotav1.HeldTasks) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range tasks {
		k, wanted := setOf(h)
		if wanted.empty() {
			continue // it names nothing that could be here
		}
		gone := b.unqueue(k, wanted)
		b.cancelRuns(k, wanted, ErrStopped)
		for _, r := range wanted.ranges {
			b.heldSet(k).each(r, func(part indexRange, in bool) {
				if !in {
					gone = append(gone, part)
				}
			})
			b.keep(b.heldSet(k), r)
		}
		b.out.addRanges(k, gone, &result{kind: kind{outcome: rotav1.Outcome_OUTCOME_STOPPED}})
	}
}

// drop ends tasks that are no longer this session's, without a report.
func (b *board) drop(tasks []*rotav1.HeldTasks) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range tasks {
		k, wanted := setOf(h)
		b.unqueue(k, wanted)
		b.cancelRuns(k, wanted, ErrDropped)
		b.release(k, h.GetRanges())
	}
}

// unqueue takes the wanted tasks out of the queues and returns which they were.
func (b *board) unqueue(k key, wanted *indexSet) []indexRange {
	gone := b.plain.remove(k, wanted)
	exclusive := b.exclusive.remove(k, wanted)
	for _, r := range exclusive {
		b.exclusives -= int(r.end - r.first)
	}
	return append(gone, exclusive...)
}

func (b *board) cancelRuns(k key, wanted *indexSet, cause error) {
	for _, s := range b.slots {
		if r := s.current; r != nil && r.key == k && wanted.has(r.task.Index) {
			b.cancelRun(r, cause)
		}
	}
}

func (b *board) cancelRun(r *run, cause error) {
	if errors.Is(cause, ErrDropped) {
		r.silent.Store(true)
	}
	// What was asked to stop by the user keeps its place on the servers until this
	// worker confirms, so nothing can overlap with it. What was dropped or ran out
	// of its lease may have a next attempt, perhaps here.
	if r.work.Exclusive && !r.ending && !errors.Is(cause, ErrStopped) {
		r.ending = true
		b.ending++
	}
	r.ctx.cancel(cause)
}

// fence ends the exclusive tasks that run: their lease is about to.
func (b *board) fence() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slots {
		if r := s.current; r != nil && r.work.Exclusive {
			b.cancelRun(r, ErrLease)
		}
	}
}

// cancelAll ends everything that runs, for cause.
func (b *board) cancelAll(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slots {
		if r := s.current; r != nil {
			b.cancelRun(r, cause)
		}
	}
}

// drain gives back what waits, and from now on what arrives.
func (b *board) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draining = true
	b.giveBack(func(*span) bool { return true })
}

// pause gives back what waits, and what arrives until resume is called.
func (b *board) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = true
	b.giveBack(func(*span) bool { return true })
}

func (b *board) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = false
}

// waiting is how many tasks wait for a slot.
func (b *board) waiting() int64 { return b.plain.tasks.Load() + b.exclusive.tasks.Load() }

// relieve gives back tasks that were fetched in advance in the belief that tasks here are short,
// for another worker may be free: those that have waited longer than patience while every slot
// is busy with a task that has run longer than that; and where a queue moves, but its head has
// waited longer than patience, those that at its pace would wait as long again.
func (b *board) relieve(patience time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := monoNow()
	reach := int(b.taken - b.looks[b.look])
	b.looks[b.look] = b.taken
	b.look = (b.look + 1) % len(b.looks)
	stuck := true
	for _, s := range b.slots {
		if s.current == nil {
			return
		}
		stuck = stuck && now-s.current.started > patience
	}
	if stuck {
		b.giveBack(func(s *span) bool { return now-s.arrived > patience })
	} else if head := b.plain.head(); head != nil && now-head.arrived > patience {
		for _, s := range b.plain.cut(reach) {
			b.sendBack(s)
		}
	}
}

func (b *board) giveBack(which func(*span) bool) {
	for _, q := range []*spanQueue{&b.plain, &b.exclusive} {
		q.filter(func(s *span) bool {
			if !which(s) {
				return true
			}
			if s.work.Exclusive {
				b.exclusives -= s.len()
			}
			b.sendBack(s)
			return false
		})
	}
}

// sendBack reports that the tasks of a span, which waits no longer, were never started.
func (b *board) sendBack(s *span) {
	b.out.addRanges(s.key, []indexRange{{s.next, s.end}}, &result{kind: returned})
}

// close ends the slots as they become free.
func (b *board) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.work.Broadcast()
}
