package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

// Stream is the way to a connected worker. Its methods must not block: they are called
// while the state machine is locked.
type Stream interface {
	// Grant sends granted tasks.
	Grant(fsm.Grant)
	// Stop asks for the end of a task.
	Stop(job uint64, index uint32, tokenOffset int64)
	// End closes the stream: the session is over, or this server leads no more.
	End(sessionClosed bool)
}

// Fleet is what the leader knows of the workers and no log holds. It implements
// fsm.Observer. On a follower it is empty and refuses everybody.
type Fleet struct {
	lease time.Duration
	wake  chan struct{}

	mu      sync.Mutex
	leading bool
	members map[uint64]*Member
	// order is the members in order of their sessions.
	order []*Member
	// run is the smoothed run time of everybody's tasks; 0: nothing is known.
	run time.Duration
	// jobs is how long the tasks of jobs take that have many; young gathers it for those of
	// which too few have ended yet.
	jobs  map[uint64]time.Duration
	young map[uint64]Run
	// placed counts what Place has given; it varies policy random.
	placed uint64
}

// Member is one open session, as the leader knows it.
type Member struct {
	session uint64
	stream  Stream
	// beat is when the session's lease was last renewed.
	beat time.Time
	// closing: the lease has ended and the session is being closed. Nothing renews the lease
	// any more: a worker that was told so would run what others are given.
	closing bool
	// run is the smoothed run time of its tasks; 0: nothing is known.
	run     time.Duration
	running []Running
	// reserved is tasks that Place has given it and the state machine has not yet.
	reserved uint32
}

// Running is a task that its worker has started.
type Running struct {
	Job   uint64
	Index uint32
	For   time.Duration
}

// NewFleet returns the fleet of a server that does not lead.
func NewFleet(lease time.Duration) *Fleet {
	return &Fleet{lease: lease, wake: make(chan struct{}, 1), members: map[uint64]*Member{}, jobs: map[uint64]time.Duration{}, young: map[uint64]Run{}}
}

// Lease is how long a session lives without a beat.
func (f *Fleet) Lease() time.Duration { return f.lease }

// Begin makes the fleet that of a new leader: every open session has a full lease,
// for nobody knows when it last beat.
func (f *Fleet) Begin(sessions []fsm.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leading, f.members, f.order = true, map[uint64]*Member{}, nil
	now := time.Now()
	for _, s := range sessions {
		f.add(s.Id).beat = now
	}
	f.Wake()
}

// End makes the fleet that of a follower, and ends all streams.
func (f *Fleet) End() {
	f.mu.Lock()
	members := f.members
	f.leading, f.members, f.order, f.run = false, map[uint64]*Member{}, nil, 0
	clear(f.jobs)
	clear(f.young)
	f.mu.Unlock()
	// In order, as everything that others can see: runs of a simulation must be alike.
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if m := members[id]; m.stream != nil {
			m.stream.End(false)
		}
	}
}

// add makes a session a member.
func (f *Fleet) add(session uint64) *Member {
	m := &Member{session: session}
	f.members[session] = m
	at, _ := f.place(session)
	f.order = slices.Insert(f.order, at, m)
	return m
}

// place is where a session is, or belongs, in the order of members.
func (f *Fleet) place(session uint64) (at int, ok bool) {
	return slices.BinarySearchFunc(f.order, session, func(m *Member, id uint64) int { return cmp.Compare(m.session, id) })
}

// Attach makes stream the way to a session, in the place of an earlier one. ok is false
// where this server does not lead, or the session is being closed.
func (f *Fleet) Attach(session uint64, stream Stream) (ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leading {
		return false
	}
	m := f.members[session]
	if m == nil {
		m = f.add(session)
	}
	if m.closing {
		return false
	}
	if m.stream != nil {
		m.stream.End(false)
	}
	m.stream, m.beat = stream, time.Now()
	f.Wake()
	return true
}

// Detach says that stream is broken. The session lives on until its lease ends.
func (f *Fleet) Detach(session uint64, stream Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[session]; m != nil && m.stream == stream {
		m.stream = nil
	}
}

// Beat renews the lease of a session. ok is false where its stream is not the current
// one any more, or the session is being closed.
func (f *Fleet) Beat(session uint64, stream Stream, running []Running) (ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[session]
	if m == nil || m.stream != stream || m.closing {
		return false
	}
	m.beat, m.running = time.Now(), running
	return true
}

// ahead is how much work a worker may hold beyond what it runs.
const ahead = 200 * time.Millisecond

// Away is what Extra says of a session that is not connected.
const Away = -1

// Extra returns how many tasks each of sessions, which are in order, may hold beyond its slots,
// or Away.
func (f *Fleet) Extra(sessions []fsm.SessionView) []int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]int32, len(sessions))
	at := 0
	for i := range sessions {
		s := &sessions[i]
		for at < len(f.order) && f.order[at].session < s.ID {
			at++
		}
		out[i] = Away
		if at == len(f.order) || f.order[at].session != s.ID {
			continue
		}
		if m := f.order[at]; m.stream != nil {
			out[i] = int32(f.extra(m, s.Slots))
		}
	}
	return out
}

// extra is how many tasks m may hold beyond its slots. Of a worker that has not reported yet
// it is what it would be of the others.
func (f *Fleet) extra(m *Member, slots uint32) uint32 {
	run := m.run
	if run == 0 {
		run = f.run
	}
	if run == 0 {
		return 0
	}
	return uint32(min(int64(ahead/run)*int64(slots), task.MaxOutstanding))
}

// Follow makes the sessions that open returns the members. A session whose worker was
// lost between opening and attaching gets a lease too: nobody else would ever end it.
// And one that was closed just before its worker attached is none any more.
func (f *Fleet) Follow(open func() []fsm.Session) {
	f.mu.Lock()
	known := slices.Sorted(maps.Keys(f.members))
	f.mu.Unlock()
	// Asked behind the members: each of those was open when it became one.
	isOpen := map[uint64]struct{}{}
	for _, s := range open() {
		isOpen[s.Id] = struct{}{}
	}
	for _, id := range known {
		if _, ok := isOpen[id]; !ok {
			f.SessionClosed(id)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leading {
		return
	}
	now := time.Now()
	for id := range isOpen {
		if f.members[id] == nil {
			f.add(id).beat = now
		}
	}
}

// Renew gives every session a full lease.
func (f *Fleet) Renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, m := range f.members {
		m.beat = now
	}
}

// Lapsed returns the sessions whose lease has ended, of those that open returns, at a look that
// comes so long after the one before. Where that was too long it was this server that
// stood still: beats may wait unread, and every session gets a full lease.
func (f *Fleet) Lapsed(open func() []fsm.Session, sinceLook time.Duration) (expired []uint64, stoodStill bool) {
	if stoodStill = sinceLook > f.lease/2; stoodStill {
		f.Renew()
	}
	f.Follow(open)
	return f.Expired(), stoodStill
}

// Expired returns the sessions whose lease has ended, in order.
func (f *Fleet) Expired() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []uint64
	for id, m := range f.members {
		if f.hasExpired(m) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Close says whether the lease of a session has ended still. If so, the session is to be
// closed, and its lease is not renewed any more, unless Keep says so.
func (f *Fleet) Close(session uint64) (expired bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[session]
	if m == nil || !f.hasExpired(m) {
		return false
	}
	m.closing = true
	return true
}

// Keep says that a session was not closed after all, for certain.
func (f *Fleet) Keep(session uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[session]; m != nil {
		m.closing = false
	}
}

func (f *Fleet) hasExpired(m *Member) bool { return time.Since(m.beat) > f.lease }

// Status is what a list of workers shows of a session.
type Status struct {
	Connected bool
	LastBeat  time.Duration
	Running   []Running
}

// Status returns that of a session; ok is false where nothing is known.
func (f *Fleet) Status(session uint64) (Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.members[session]
	if m == nil {
		return Status{}, false
	}
	return Status{Connected: m.stream != nil, LastBeat: time.Since(m.beat), Running: m.running}, true
}

// maxRunning bounds the tasks that Running returns.
const maxRunning = 10_000

// Running returns what tasks of a job run, maxRunning at most, and for how long, by the
// last beats of their workers.
func (f *Fleet) Running(job uint64) map[uint32]time.Duration {
	out := map[uint32]time.Duration{}
	if job == 0 {
		return out
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.members {
		for _, r := range m.running {
			if r.Job == job && len(out) < maxRunning {
				out[r.Index] = r.For
			}
		}
	}
	return out
}

// Wake implements fsm.Observer: the allocation loop looks again.
func (f *Fleet) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Woken says whether the fleet was woken since the allocation loop looked, and forgets it: for
// who steps an Allocator, and waits for nothing.
func (f *Fleet) Woken() bool {
	select {
	case <-f.wake:
		return true
	default:
		return false
	}
}

// Granted implements fsm.Observer. What is granted to a session without a stream is
// sent when it attaches.
func (f *Fleet) Granted(g fsm.Grant) {
	if s := f.streamOf(g.Session); s != nil {
		s.Grant(g)
	}
}

// Stopping implements fsm.Observer.
func (f *Fleet) Stopping(session, job uint64, index uint32, tokenOffset int64) {
	if s := f.streamOf(session); s != nil {
		s.Stop(job, index, tokenOffset)
	}
}

// SessionClosed implements fsm.Observer.
func (f *Fleet) SessionClosed(session uint64) {
	f.mu.Lock()
	m := f.members[session]
	if at, ok := f.place(session); ok {
		f.order = slices.Delete(f.order, at, at+1)
	}
	delete(f.members, session)
	f.mu.Unlock()
	if m != nil && m.stream != nil {
		m.stream.End(true)
	}
}

func (f *Fleet) streamOf(session uint64) Stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[session]; m != nil {
		return m.stream
	}
	return nil
}
