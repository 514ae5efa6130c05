package worker

import (
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
)

const (
	// maxUnanswered is how many Reports may be under way. With one, the time of an
	// answer would be idle; with more, messages would be smaller and cost more each.
	maxUnanswered = 2
	// maxReport is where a Reports message is closed, bytes. It is near the best size
	// of a log entry; one output of the largest size still fits into a message.
	maxReport = 256 << 10
	// maxOutbox is how much may wait to be reported, bytes. Beyond it slots wait: a
	// worker that is cut off from the leader must not fill its memory with results.
	maxOutbox = 64 << 20
	// openSearch is how many groups, newest first, are tried for a result to join. It
	// is bounded so that thousands of jobs of one task do not search in vain.
	openSearch = 8
	// reportHold is how long results may gather while slots have more to do. A
	// message costs every server a log entry, about 1 ms of CPU, so a worker that
	// reports each short command by itself has little left to run commands with. It
	// is half of what the leader lets a worker have in advance (200 ms), so results
	// wait no longer for their report than tasks do for their slot.
	reportHold = 100 * time.Millisecond
)

// outbox keeps the results of tasks until the leader has answered for them, across
// streams, servers and sessions. Results that come while messages are under way
// gather in groups and make up the next message: the batch grows with the load.
//
// While slots have tasks in reserve, results also gather up to reportHold, or until
// they are as many as those tasks: a leader that hears of half of them in time to
// send more keeps the slots busy. Whatever somebody waits for goes at once.
//
// Slots call add; all else is for the one goroutine that owns the stream, except
// settle, which the reader of that stream calls.
type outbox struct {
	// ready has an element when there may be something to send.
	ready chan struct{}
	// bytes is the size of everything unanswered.
	bytes atomic.Int64

	mu   sync.Mutex
	room *sync.Cond
	// open is groups that no message has yet, oldest first.
	open []*group
	// gathered is how many results are in open, since when there are any, on monoNow,
	// and whether one of them must not wait.
	gathered int
	since    time.Duration
	urgent   bool
	// messages is what was sent at least once, oldest first. The first `sent` of them
	// are under way on the stream that is open now.
	messages []*message
	sent     int
	// sealing is the size of the message that is being made.
	sealing int
	// seq is that of the last message on this stream.
	seq    uint64
	closed bool
}

// message is one Reports.
type message struct {
	seq    uint64
	groups []*rotav1.ReportGroup
	size   int
}

func newOutbox() *outbox {
	o := &outbox{ready: make(chan struct{}, 1)}
	o.room = sync.NewCond(&o.mu)
	return o
}

// add puts in the result of one task. urgent says that others wait for it to be
// recorded before they can begin.
func (o *outbox) add(k key, index uint32, res *result, urgent bool) {
	o.mu.Lock()
	g := o.groupFor(k, res)
	o.bytes.Add(int64(g.append(index, res)))
	o.gather(1, urgent)
	o.mu.Unlock()
	o.wake()
}

// addRanges puts in the same result, without an output, for tasks that never ran.
func (o *outbox) addRanges(k key, ranges []indexRange, res *result) {
	if len(ranges) == 0 {
		return
	}
	o.mu.Lock()
	g := o.groupFor(k, res)
	for _, r := range ranges {
		o.bytes.Add(int64(g.appendRange(r)))
		o.gather(int(r.end-r.first), true)
	}
	o.mu.Unlock()
	o.wake()
}

// gather counts results that have joined the open groups.
func (o *outbox) gather(n int, urgent bool) {
	if o.gathered == 0 {
		o.since = monoNow()
	}
	o.gathered += n
	o.urgent = o.urgent || urgent
}

func (o *outbox) groupFor(k key, res *result) *group {
	for i := len(o.open) - 1; i >= max(0, len(o.open)-openSearch); i-- {
		if g := o.open[i]; g.takes(k, res) {
			return g
		}
	}
	g := newGroup(k, res)
	o.bytes.Add(int64(g.size))
	o.open = append(o.open, g)
	return g
}

// wake tells the stream's writer that there may be something to send.
func (o *outbox) wake() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// full says that slots must wait.
func (o *outbox) full() bool { return o.bytes.Load() > maxOutbox }

// waitRoom returns when the outbox is not full, or was closed.
func (o *outbox) waitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.full() && !o.closed {
		o.room.Wait()
	}
}

// close lets the slots that wait for room go.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.room.Broadcast()
}

// rewind makes everything unanswered due again: a new stream has begun.
func (o *outbox) rewind() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent, o.seq = 0, 0
}

// hold returns for how long results should still gather, with so many tasks in
// reserve; 0: next may be called now.
func (o *outbox) hold(reserve int) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gathered == 0 || o.urgent || o.gathered >= reserve || o.sent < len(o.messages) || o.bytes.Load() >= maxReport {
		return 0
	}
	return max(0, o.since+reportHold-monoNow())
}

// next returns the next message to send; nil: nothing may be sent now.
func (o *outbox) next() *rotav1.Reports {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sent >= maxUnanswered {
		return nil
	}
	if o.sent == len(o.messages) {
		if len(o.open) == 0 {
			return nil
		}
		o.seal()
	}
	m := o.messages[o.sent]
	o.sent++
	o.seq++
	m.seq = o.seq
	return &rotav1.Reports{Seq: m.seq, Groups: m.groups}
}

// seal makes a message of the oldest groups. It lets go of the lock while it sorts
// them, so that slots need not wait for that.
func (o *outbox) seal() {
	n, size := 0, 0
	for n < len(o.open) && (n == 0 || size+o.open[n].size <= maxReport) {
		size += o.open[n].size
		n++
	}
	taken := o.open[:n:n]
	o.open = o.open[n:]
	for _, g := range taken {
		o.gathered -= g.count
	}
	if len(o.open) == 0 {
		o.open, o.urgent = nil, false
	}
	o.sealing = size
	o.mu.Unlock()

	m := &message{groups: make([]*rotav1.ReportGroup, n), size: size}
	for i, g := range taken {
		m.groups[i] = g.seal()
	}
	// The array of open groups lives on; it must not keep what it no longer shows.
	clear(taken)

	o.mu.Lock()
	o.sealing = 0
	o.messages = append(o.messages, m)
}

// settle takes out the message that an answer is for, and returns its groups. An
// answer for no message, as of an earlier stream, is ignored.
func (o *outbox) settle(seq uint64) []*rotav1.ReportGroup {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.sent {
		m := o.messages[i]
		if m.seq != seq {
			continue
		}
		// Few messages are unanswered on a stream, but many may wait behind them
		// after a time without a leader: shift those before it, not those behind.
		copy(o.messages[1:i+1], o.messages[:i])
		o.messages[0] = nil
		o.messages = o.messages[1:]
		o.sent--
		if o.bytes.Add(-int64(m.size)) <= maxOutbox {
			o.room.Broadcast()
		}
		o.wake()
		return m.groups
	}
	return nil
}

// empty says that everything was answered.
func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open) == 0 && len(o.messages) == 0 && o.sealing == 0
}
