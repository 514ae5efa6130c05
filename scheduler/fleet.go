package scheduler

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

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
// fsm.Observer. On a follower it is empty and refuses all workers.
type Fleet struct {
	lease time.Duration
	wake  chan struct{}

	mu      sync.Mutex
	leading bool
	// began is when it began to lead.
	began time.Time
	// members is by session, in order of the ids: a simulation with the same seed must do the same.
	members btree.Map[uint64, *Member]
	// run is the smoothed run time of everybody's tasks; 0: nothing is known.
	run time.Duration
	// jobs is how long the tasks of large jobs take. young collects that for jobs of which too few
	// tasks have ended.
	jobs  map[uint64]time.Duration
	young map[uint64]Run
	// running counts the tasks of jobs that their workers have started, by their last beats.
	running map[uint64]uint32
	// placed counts what Place has given; it varies where it begins, and policy random.
	placed atomic.Uint64
}

// Member is one open session, as the leader knows it.
type Member struct {
	stream Stream
	// beat is when the session's lease was last renewed.
	beat time.Time
	// closing: the lease has ended and the session is being closed. Nothing renews the lease
	// any more, or the worker would run tasks that others are given.
	closing bool
	// shunned: its lease is not renewed, although it beats, until it reports the tasks that it is silent about.
	shunned bool
	// contact is when the current series of beats without a gap began. reports counts its reports that are
	// not answered, and reported is when the last report came or was answered.
	contact  time.Time
	reports  int
	reported time.Time
	// rests is when it is granted tasks again after it was silent about some; zero: it does not rest.
	rests     time.Time
	condition Condition
	// pausedUntil is when it is granted tasks again after it gave some back, and pause how long
	// that takes this time.
	pausedUntil time.Time
	pause       time.Duration
	// run is the smoothed run time of its tasks; 0: nothing is known.
	run time.Duration
	// running is the tasks that it says it runs, as far as they are kept; started is how many it says
	// there are.
	running []Running
	started int
	// reserved counts tasks that Place has given it and the state machine has not granted yet.
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
	return &Fleet{lease: lease, wake: make(chan struct{}, 1), jobs: map[uint64]time.Duration{}, young: map[uint64]Run{}, running: map[uint64]uint32{}}
}

// Lease is how long a session lives without a beat.
func (f *Fleet) Lease() time.Duration { return f.lease }

// Begin makes this the fleet of a new leader. Every open session has a full lease, because
// nobody knows when it last beat.
func (f *Fleet) Begin(sessions []fsm.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.leading, f.began = true, now
	for _, s := range sessions {
		f.members.Set(s.Id, &Member{beat: now, contact: now})
	}
	f.Wake()
}

// End makes this the fleet of a follower, and ends all streams.
func (f *Fleet) End() {
	f.mu.Lock()
	members := f.members
	f.leading, f.members, f.run = false, btree.Map[uint64, *Member]{}, 0
	clear(f.jobs)
	clear(f.young)
	clear(f.running)
	f.mu.Unlock()
	members.Scan(func(_ uint64, m *Member) bool {
		if m.stream != nil {
			m.stream.End(false)
		}
		return true
	})
}

// member is the one that a session is, or nil.
func (f *Fleet) member(session uint64) *Member {
	m, _ := f.members.Get(session)
	return m
}

// Attach makes stream the way to a session, instead of an earlier one. ok is false
// if this server does not lead, or if the session is being closed. A shunned session may
// attach, so that it can report, but that does not renew its lease.
func (f *Fleet) Attach(session uint64, stream Stream) (ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.leading {
		return false
	}
	m := f.member(session)
	if m == nil {
		m = &Member{}
		f.members.Set(session, m)
	}
	if m.closing {
		return false
	}
	if m.stream != nil {
		m.stream.End(false)
	}
	now := time.Now()
	m.stream, m.contact, m.reports = stream, now, 0
	if !m.shunned {
		m.beat = now
	}
	f.Wake()
	return true
}

// Detach says that stream is broken. The session lives on until its lease ends.
func (f *Fleet) Detach(session uint64, stream Stream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(session); m != nil && m.stream == stream {
		m.stream = nil
	}
}

// Beat renews the lease of a session. ok is false if its stream is not the current
// one any more, or the session is being closed.
func (f *Fleet) Beat(session uint64, stream Stream, running []Running) (ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil || m.stream != stream || m.closing || m.shunned {
		return false
	}
	now := time.Now()
	if now.Sub(m.beat) > f.lease/2 {
		m.contact = now // it has missed one
	}
	m.beat = now
	f.runs(m, running)
	return true
}

// maxRunning bounds the running tasks that are kept, of all workers together: 64 bytes each. The largest number
// of workers that a cluster may have, with 50 slots each, run so many. If workers say more, a part of
// what each says is kept.
const maxRunning = 1 << 20

// runs notes what a member runs.
func (f *Fleet) runs(m *Member, running []Running) {
	m.started = len(running)
	if most := maxRunning / max(1, f.members.Len()); len(running) > most {
		running = slices.Clone(running[:most])
	}
	for _, r := range m.running {
		if f.running[r.Job]--; f.running[r.Job] == 0 {
			delete(f.running, r.Job)
		}
	}
	for _, r := range running {
		f.running[r.Job]++
	}
	m.running = running
}

// ahead is how much work a worker may hold beyond what it runs.
const ahead = 200 * time.Millisecond

// Extra says of each of sessions, which are in order, how many tasks it may hold beyond its
// slots, or that it is granted nothing now.
func (f *Fleet) Extra(sessions []fsm.SessionView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, at := time.Now(), 0
	f.members.Scan(func(id uint64, m *Member) bool {
		for ; at < len(sessions) && sessions[at].ID < id; at++ {
			sessions[at].Extra = fsm.Away
		}
		if at == len(sessions) {
			return false
		}
		if s := &sessions[at]; s.ID == id {
			if s.Extra = fsm.Away; m.takes(now) {
				s.Extra = int32(f.extra(m, s.Slots))
			}
			at++
		}
		return true
	})
	for ; at < len(sessions); at++ {
		sessions[at].Extra = fsm.Away
	}
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
// lost between opening and attaching gets a lease too, or nothing would ever end it.
// A session that was closed just before its worker attached is removed.
func (f *Fleet) Follow(open func() []fsm.Session) {
	f.mu.Lock()
	known := f.members.Keys()
	f.mu.Unlock()
	// The members are read first: each of them was open when it became a member.
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
		if f.member(id) == nil {
			f.members.Set(id, &Member{beat: now, contact: now})
		}
	}
}

// Renew gives every session a full lease.
func (f *Fleet) Renew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.members.Scan(func(_ uint64, m *Member) bool {
		m.beat, m.contact = now, now
		return true
	})
}

// Lapsed returns the sessions whose lease has ended, of those that open returns. sinceLook is the time
// since it was called last. If that was too long, this server stood still: beats may wait unread, so
// every session gets a full lease.
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
	f.members.Scan(func(id uint64, m *Member) bool {
		if f.hasExpired(m) {
			out = append(out, id)
		}
		return true
	})
	return out
}

// Close says whether the lease of a session is still over. If so, the caller closes the session, and nothing
// renews its lease any more, unless Keep is called.
func (f *Fleet) Close(session uint64) (expired bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil || !f.hasExpired(m) {
		return false
	}
	m.closing = true
	return true
}

// Shun lets the lease of a session end, whether its worker beats or not. The worker stops its exclusive
// tasks before that, as it does when it hears of no leader, and may report them until then. fresh is
// false if the session was shunned already.
func (f *Fleet) Shun(session uint64) (fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil || m.shunned {
		return false
	}
	m.shunned = true
	return true
}

// Shunned says whether the session is shunned. Until its lease has ended, no other session takes over
// its tasks, or its worker would keep them for ever. Its stream stays, although no beat is answered: the worker
// must be able to report the tasks that it was shunned for.
func (f *Fleet) Shunned(session uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	return m != nil && m.shunned
}

// absolve ends the shunning of the sessions behind after, up to last, that are not in still: they do not
// hold the tasks any more that they were shunned for. Their next beats renew their leases.
func (f *Fleet) absolve(after, last uint64, still map[uint64]bool) (absolved []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members.Ascend(after+1, func(id uint64, m *Member) bool {
		if id > last {
			return false
		}
		if m.shunned && !still[id] {
			m.shunned = false
			absolved = append(absolved, id)
			f.Wake()
		}
		return true
	})
	return absolved
}

// Keep says that a session was certainly not closed.
func (f *Fleet) Keep(session uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(session); m != nil {
		m.closing = false
	}
}

func (f *Fleet) hasExpired(m *Member) bool { return time.Since(m.beat) > f.lease }

// Status is what a list of workers shows of a session.
type Status struct {
	Connected bool
	LastBeat  time.Duration
	// Takes says that it is granted tasks now.
	Takes bool
	// Started is how many tasks it says that it runs, and Running those of them that are known.
	Started int
	Running []Running
	Condition
}

// Status returns that of a session; ok is false if nothing is known.
func (f *Fleet) Status(session uint64) (Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	if m == nil {
		return Status{}, false
	}
	now := time.Now()
	return Status{
		Connected: m.stream != nil, LastBeat: now.Sub(m.beat), Takes: m.takes(now), Started: m.started, Running: m.running, Condition: m.condition,
	}, true
}

// Leads says whether this is the fleet of a leader. The fleet of another server is empty.
func (f *Fleet) Leads() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leading
}

// Connected says whether the worker of a session has a stream to this server.
func (f *Fleet) Connected(session uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.member(session)
	return m != nil && m.stream != nil
}

// Running returns how many tasks of a job run, by the last beats of their workers.
func (f *Fleet) Running(job uint64) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running[job]
}

// RunTime returns for how long a task that a session holds had run at the session's last beat;
// ok is false if it did not run.
func (f *Fleet) RunTime(session, job uint64, index uint32) (d time.Duration, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(session); m != nil {
		for _, r := range m.running {
			if r.Job == job && r.Index == index {
				return r.For, true
			}
		}
	}
	return 0, false
}

// Wake implements fsm.Observer: the allocation loop looks again.
func (f *Fleet) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Woken says whether the fleet was woken since the last look, and forgets it. It is for callers that step an
// Allocator and do not wait.
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
	m, _ := f.members.Delete(session)
	if m != nil {
		f.runs(m, nil)
	}
	f.mu.Unlock()
	if m != nil && m.stream != nil {
		m.stream.End(true)
	}
}

// StreamOf is the way to a session; nil: there is none here.
func (f *Fleet) StreamOf(session uint64) Stream { return f.streamOf(session) }

func (f *Fleet) streamOf(session uint64) Stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.member(session); m != nil {
		return m.stream
	}
	return nil
}
