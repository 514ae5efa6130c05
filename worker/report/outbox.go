package report

import (
	"sync"
	"sync/atomic"
	"time"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxUnanswered is how many messages may be under way. With one, the stream would be idle until
	// the answer comes; with more, messages would be smaller and cost more each.
	maxUnanswered = 2
	// maxMessage is where a message is closed, bytes. It is near the best size of a log entry, and
	// one output of the largest size still fits into a message.
	maxMessage = 256 << 10
	// maxOutbox is how much may wait to be reported, bytes. Beyond it slots wait: a worker that
	// cannot reach the leader must not fill its memory with results.
	maxOutbox = 64 << 20
	// openSearch is how many groups, newest first, a result tries to join. It is bounded so that
	// thousands of jobs of one task do not search in vain.
	openSearch = 8
	// gatherTime is how long results may gather while slots have more to do. A message costs every
	// server a log entry, about 1 ms of CPU, so a worker that reports each short command by itself
	// has little left to run commands with. It is half of what the leader lets a worker have in
	// advance (200 ms), so results wait no longer for their report than tasks wait for their slot.
	gatherTime = 100 * time.Millisecond
)

// Outbox keeps results until the leader has answered for them, across streams, servers and
// sessions. While messages are under way, new results gather in groups, and these make up the next
// message: the batch grows with the load.
//
// While slots have tasks in reserve, results gather for up to gatherTime, or until there are as many
// results as tasks in reserve: a leader that hears of half of a worker's tasks in time to send more
// keeps its slots busy. Results that others wait for go at once.
//
// Rewind, Hold and Next are for the one goroutine that writes to the stream. Any goroutine may call
// the other methods.
type Outbox struct {
	ready chan struct{}
	// size is that of everything unanswered, bytes.
	size atomic.Int64

	mu   sync.Mutex
	room *sync.Cond
	// open are the groups that are in no message yet, oldest first.
	open []*group
	// gathered is how many results are in open, since is when the first of them came, and urgent
	// says that one of them must not wait.
	gathered int
	since    time.Time
	urgent   bool
	// messages are those that were sent at least once, oldest first. The first `sent` of them are
	// under way on the stream that is open now.
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

// NewOutbox makes an empty one.
func NewOutbox() *Outbox {
	o := &Outbox{ready: make(chan struct{}, 1)}
	o.room = sync.NewCond(&o.mu)
	return o
}

// Ready has an element when there may be something to send.
func (o *Outbox) Ready() <-chan struct{} { return o.ready }

// Add puts in the result of one task. urgent says that something else cannot begin before this
// result is recorded.
func (o *Outbox) Add(of Grant, index uint32, res *Result, urgent bool) {
	o.mu.Lock()
	g := o.groupFor(of, res)
	o.size.Add(int64(g.append(index, res)))
	o.gather(1, urgent)
	o.mu.Unlock()
	o.wake()
}

// AddRanges puts in the same result for tasks that never ran. It has no output.
func (o *Outbox) AddRanges(of Grant, ranges []task.Range, res *Result) {
	if len(ranges) == 0 {
		return
	}
	o.mu.Lock()
	g := o.groupFor(of, res)
	for _, r := range ranges {
		o.size.Add(int64(g.appendRange(r)))
		o.gather(int(r.Count), true)
	}
	o.mu.Unlock()
	o.wake()
}

// gather counts results that have joined the open groups.
func (o *Outbox) gather(n int, urgent bool) {
	if o.gathered == 0 {
		o.since = time.Now()
	}
	o.gathered += n
	o.urgent = o.urgent || urgent
}

// groupFor returns the group that a result joins: an open one, or a new one.
func (o *Outbox) groupFor(of Grant, res *Result) *group {
	for i := len(o.open) - 1; i >= max(0, len(o.open)-openSearch); i-- {
		if g := o.open[i]; g.takes(of, res) {
			return g
		}
	}
	g := newGroup(of, res)
	o.size.Add(int64(g.size))
	o.open = append(o.open, g)
	return g
}

// wake tells the writer of the stream that there may be something to send.
func (o *Outbox) wake() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// Size is how much is unanswered, bytes.
func (o *Outbox) Size() int64 { return o.size.Load() }

// Full says that slots must wait.
func (o *Outbox) Full() bool { return o.Size() > maxOutbox }

// WaitRoom returns when the outbox is not full, or is closed.
func (o *Outbox) WaitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.Full() && !o.closed {
		o.room.Wait()
	}
}

// Close ends every WaitRoom.
func (o *Outbox) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.room.Broadcast()
}

// Rewind makes everything unanswered due again: a new stream has begun.
func (o *Outbox) Rewind() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent, o.seq = 0, 0
}

// Hold returns for how much longer results should gather while a worker has a number of tasks in
// reserve; 0: call Next now.
func (o *Outbox) Hold(reserve int) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gathered == 0 || o.urgent || o.gathered >= reserve || o.sent < len(o.messages) || o.Size() >= maxMessage {
		return 0
	}
	return max(0, gatherTime-time.Since(o.since))
}

// Next returns the next message to send; nil: nothing may be sent now.
func (o *Outbox) Next() *rotav1.Reports {
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

// seal makes a message of the oldest groups. It releases the lock while it sorts them, so that slots
// need not wait for that.
func (o *Outbox) seal() {
	n, size := 0, 0
	for n < len(o.open) && (n == 0 || size+o.open[n].size <= maxMessage) {
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
	// The array of open groups lives on, and must not keep these in memory.
	clear(taken)

	o.mu.Lock()
	o.sealing = 0
	o.messages = append(o.messages, m)
}

// Settle removes the message that an answer is for, and returns its groups. It ignores an answer for
// no message, such as one of an earlier stream.
func (o *Outbox) Settle(seq uint64) []*rotav1.ReportGroup {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.sent {
		m := o.messages[i]
		if m.seq != seq {
			continue
		}
		// Few messages are under way, but many may wait behind them after a time without a leader:
		// shift those before this one, not those behind it.
		copy(o.messages[1:i+1], o.messages[:i])
		o.messages[0] = nil
		o.messages = o.messages[1:]
		o.sent--
		if o.size.Add(-int64(m.size)) <= maxOutbox {
			o.room.Broadcast()
		}
		o.wake()
		return m.groups
	}
	return nil
}

// Empty says that everything was answered.
func (o *Outbox) Empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.open) == 0 && len(o.messages) == 0 && o.sealing == 0
}
