package fsm

import (
	"fmt"
	"sync"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// pageSize is how many tasks share a page of slots, and an index page on disk.
const pageSize = 256

// jobRecordBytes is about how much a job's record takes on disk, without what recordBytes adds. It
// counts towards the bound on what is not yet written.
const jobRecordBytes = 256

// appendMarkBytes is about what the mark of an append takes there.
const appendMarkBytes = 48

// slot is a task that was touched. The zero slot is one that was not: it is in
// its job's base state. 32 bytes.
type slot struct {
	// token of the current attempt; of the last one when none is under way.
	token uint64
	// at: earliest start (scheduled), time of the grant (assigned), time when it was asked to
	// stop (stopping), or cursor of the outcome (final).
	at int64
	// session that holds it, while assigned or stopping.
	session uint64
	// attempt counts grants; failures and lost are those that count as such.
	attempt  uint16
	failures uint8
	lost     uint8
	state    task.State
	reason   task.Reason
	// unreported: it was the servers that gave it its outcome, and no report of its worker.
	unreported bool
}

// page is the slots of pageSize neighbouring tasks, or fewer at a job's end.
type page struct {
	slots []slot
	// final counts slots with an outcome.
	final int
	// alike: all its tasks were ended together and have no slots of their own. It is the slot of
	// the first; the cursors of the others count up from its.
	alike *slot
	// dirty: changed since the last flush batch. stored: live slots of it are on disk.
	dirty, stored bool
}

// freshPages is unused pages of the full size. A leader under load needs thousands a second.
var freshPages = sync.Pool{New: func() any { return &page{slots: make([]slot, pageSize)} }}

func newPage(slots int) *page {
	if slots == pageSize {
		return freshPages.Get().(*page)
	}
	return &page{slots: make([]slot, slots)}
}

// recycle makes a page that nothing refers to any more a fresh one.
func (p *page) recycle() {
	if len(p.slots) == pageSize {
		clear(p.slots)
		*p = page{slots: p.slots}
		freshPages.Put(p)
	}
}

// donePage stands for every page whose tasks are all final and on disk.
var donePage = &page{}

// chunk is payloads that are not yet on disk.
type chunk struct {
	first, count uint32
	packed       []byte
}

// segment is results that are not yet on disk; first is the cursor of its first.
type segment struct {
	first, count uint32
	pb           *logpb.Segment
}

// job is a job that is not final, or whose end is not yet on disk.
type job struct {
	id      uint64
	spec    *spec
	key     string
	keyHash string

	total      uint32
	open, hold bool
	// ownPayloads: each task has a payload of its own, none has the shared one.
	ownPayloads bool
	// base is the state of untouched tasks.
	base       task.State
	retryOf    uint64
	submitted  int64
	started    int64
	finished   int64
	lastAppend int64
	notBefore  int64
	expireAt   int64
	// cancelReason: set once the job as a whole was cancelled.
	cancelReason task.Reason
	// reason: of the first task that did not succeed.
	reason  task.Reason
	touched bool

	counts task.Counts
	// pages is the first ones, see page.
	pages []*page
	// next is the frontier: no task from it on was ever granted. See frontier.go.
	next uint32
	// live counts touched tasks that are not final.
	live uint32
	// received counts outcomes: it is the next cursor.
	received uint32
	// retrying is how many tasks that are not final had an attempt that went wrong.
	retrying uint32
	// sum is the digest of the tasks.
	sum uint64
	// rare is what few jobs have; nil: this one has nothing of it.
	rare *rare
	// forgetAt is when it may be forgotten; 0: it has not ended, or the rules of versions before 3 say when.
	forgetAt int64
	// sweep is the page with which a cancel or an expiry goes on, plus 1; 0: none is under way.
	sweep uint32

	jobDerived

	// What is not yet on disk, beside rare.
	dirty bool
	isNew bool
	// refersToSpec: its record on disk names its spec, which stands apart.
	refersToSpec bool
	dirtyPages   []uint32
	appends      []*logpb.AppendMark
	chunks       []chunk
	segments     []segment
}

// rare is what few jobs have. In the others it takes no memory.
type rare struct {
	// attemptsSum is the digest of all records of attempts that did not end their tasks, attempts
	// those that are not yet on disk.
	attemptsSum uint64
	attempts    []*logpb.Attempt
	// far is the pages that are not among the first ones; see page.
	far []*pageLeaf
	// runs is those of tasks behind the first one; see frontier.go.
	runs []run
}

// usualBase is the base state of a job that waits for nothing but its time.
func usualBase(notBefore int64) task.State {
	if notBefore > 0 {
		return task.Scheduled
	}
	return task.Pending
}

// unusualBase is the base state where it is not the usual one, else 0: records and digests have it only then, as those
// from before it was stored.
func (j *job) unusualBase() task.State {
	if j.base == usualBase(j.notBefore) {
		return 0
	}
	return j.base
}

// baseOf reads the base state from a record; ok is false if no task can wait in it.
func baseOf(r *logpb.JobRecord) (base task.State, ok bool) {
	if r.BaseState == 0 {
		return usualBase(r.NotBeforeNs), true
	}
	base = task.State(r.BaseState)
	return base, uint32(base) == r.BaseState && (base == task.Blocked || base == task.Scheduled || base == task.Pending)
}

// withheld says that nothing of j is granted, whatever its time: it waits for other jobs, or to be closed, or
// a sweep is about to end it.
func (j *job) withheld() bool { return j.base == task.Blocked || j.open && j.hold || j.sweep != 0 }

// recordBytes is about what the record takes on disk.
func (j *job) recordBytes() int64 {
	n := jobRecordBytes + len(j.key)
	if !j.spec.apart() {
		n += j.spec.size
	}
	return int64(n)
}

func (j *job) final() bool { return j.finished != 0 }

// ended says that every task has an outcome and none can be added. The job is final
// once the entry that ended it is settled.
func (j *job) ended() bool { return !j.open && j.counts.Final() == j.total }

// pageCount is how many pages the tasks of j make.
func (j *job) pageCount() uint32 { return (j.total + pageSize - 1) / pageSize }

// pageTasks is how many tasks page n has.
func (j *job) pageTasks(n uint32) int { return int(min(pageSize, j.total-n*pageSize)) }

// slot returns the slot of task i, or nil where its page has none: it is
// untouched, or on disk (done).
func (j *job) slot(i uint32) (s *slot, done bool) {
	p := j.page(i / pageSize)
	if k := i % pageSize; p != nil && int(k) < len(p.slots) {
		return &p.slots[k], false
	}
	return p.slotless(i)
}

// slotless is slot where the page, which may be nil, has none for the task.
func (p *page) slotless(i uint32) (s *slot, done bool) {
	if p == nil || p.alike == nil {
		return nil, p == donePage
	}
	one := *p.alike
	one.at += int64(i % pageSize)
	return &one, false
}

// touchSlot returns the slot of task i, which must not be done, and makes its page.
func (j *job) touchSlot(i uint32) *slot {
	n := i / pageSize
	p := j.page(n)
	want := j.pageTasks(n)
	switch {
	case p == donePage || p != nil && p.alike != nil:
		panic(fmt.Sprintf("fsm: job %d: task %d is touched but its page is done", j.id, i))
	case p == nil:
		p = newPage(want)
		j.setPage(n, p)
	case len(p.slots) < want: // an open job has grown
		p.slots = append(make([]slot, 0, want), p.slots...)[:want]
	}
	if !p.dirty {
		p.dirty = true
		j.dirtyPages = append(j.dirtyPages, n)
	}
	return &p.slots[i%pageSize]
}

// stateOf returns the state of a slot, which may be nil or untouched.
func (j *job) stateOf(s *slot) task.State {
	if s == nil || s.state == 0 {
		return j.base
	}
	return s.state
}

// leave takes task i out of its state, on its way to another. The caller then
// changes the slot and calls enter or enterFinal.
func (m *Machine) leave(j *job, i uint32, s *slot, to task.State) {
	from := j.stateOf(s)
	if !task.Legal(from, to) {
		panic(fmt.Sprintf("fsm: task %d.%d may not go from %v to %v", j.id, i, from, to))
	}
	m.touch(j)
	j.counts[from]--
	if s.state == 0 {
		j.live++
		m.outstandingLive++
		return
	}
	j.sum -= s.hash(i)
	switch from {
	case task.Pending:
		j.staysAway(i)
	case task.Scheduled:
		if _, waiting := m.timers.Delete(timer{at: s.at, job: j.id, index: i, kind: retryTimer}); !waiting {
			j.staysAway(i)
		}
	}
}

// enter puts task i, whose slot the caller has changed, into a state that is not final.
func (m *Machine) enter(j *job, i uint32, s *slot, to task.State) {
	s.state = to
	j.counts[to]++
	j.sum += s.hash(i)
	switch to {
	case task.Pending:
		j.comesBack(i)
	case task.Scheduled:
		m.arm(m.timers, timer{at: s.at, job: j.id, index: i, kind: retryTimer})
	}
}

// enterFinal records the outcome of task i. Its cursor is the job's next.
func (m *Machine) enterFinal(j *job, i uint32, s *slot, to task.State, reason task.Reason, output uint64) {
	if s.triedAgain() {
		j.retrying--
	}
	s.state, s.reason, s.session = to, reason, 0
	s.at = int64(j.received)
	j.received++
	j.counts[to]++
	j.live--
	m.outstandingLive--
	j.sum += finalHash(i, s, output)
	j.page(i/pageSize).final++
	if to != task.Succeeded && j.reason == 0 {
		j.reason = reason
	}
}

// complete says whether page n has an outcome for each of its tasks, and none can be added.
func (j *job) complete(n uint32) bool {
	p := j.page(n)
	if p == nil || p == donePage {
		return p == donePage
	}
	size := j.pageTasks(n)
	return p.final == size && (size == pageSize || !j.open)
}

// onDisk says that the outcome with a cursor has left memory.
func (j *job) onDisk(cursor uint32) bool {
	return len(j.segments) == 0 || cursor < j.segments[0].first
}

// addSegment keeps results for the disk and for those who read them meanwhile.
// first is the cursor of the first.
func (m *Machine) addSegment(j *job, first, count uint32, pb *logpb.Segment) {
	j.segments = append(j.segments, segment{first: first, count: count, pb: pb})
	m.dirtyBytes += int64(SegmentBytes(pb))
}

// SegmentBytes is about how large a segment is, in memory, on disk and in a message.
func SegmentBytes(s *logpb.Segment) int {
	return len(s.PackedOutputs) + len(s.PackedUsage) + len(s.StderrTail) + len(s.Error) + len(s.Worker) + 12*len(s.Ranges) + 64
}
