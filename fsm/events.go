package fsm

import (
	"cmp"
	"slices"
	"sort"
	"sync"

	"github.com/rota-scheduler/rota/task"
)

// What entries do is told as events, for people and for programs that follow a cluster. Events are no part of the state: they
// are in no digest, on no disk, and nothing is decided by them. But they follow from entries alone, so every server tells
// the same ones, in the same order and at the same places. A reader may go on at any server where it has stopped.

// EventPlace is where an event stands: the index of its entry, and its number among the events of that entry, from 1 on.
type EventPlace struct {
	Index  uint64
	Number uint32
}

func (p EventPlace) compare(other EventPlace) int {
	return cmp.Or(cmp.Compare(p.Index, other.Index), cmp.Compare(p.Number, other.Number))
}

// Event is something that an entry has done. Fields that its kind does not have are zero.
type Event struct {
	Kind task.EventKind
	// Stopped: a session whose worker has ended in good order.
	Stopped bool
	State   task.JobState
	Reason  task.Reason
	At      EventPlace
	// TimeNs is the state machine's time, Unix ns.
	TimeNs int64
	// Job is the first of Jobs jobs with consecutive ids. They have Tasks tasks together.
	Job   uint64
	Jobs  uint32
	Tasks uint64
	// Task is the index of the one task that is asked to end, if One.
	Task uint32
	One  bool
	// RetryOf is the job that this one retries; 0: none.
	RetryOf uint64
	// Name is that of the only job. Queue is that of all of them.
	Name, Queue string
	Session     uint64
	// Worker is the id of a worker, WorkerName its name.
	Worker, WorkerName string
	// Node and Addr are the node id of a server and its gRPC address.
	Node, Addr string
	// Version is the active version of the log.
	Version uint32
	// Count is how many events were not kept.
	Count uint32
}

const (
	// maxEvents bounds the events that a server keeps: about 4 MiB, and hours of a usual cluster.
	maxEvents = 16_384
	// maxEntryEvents bounds those of one entry, so that thousands of small jobs that end together leave others their place.
	maxEntryEvents = 64
)

// tell notes an event of the entry that is being applied. It joins the event before it if they differ in the job alone, and the
// ids of the jobs are consecutive.
func (m *Machine) tell(e Event) {
	if n := len(m.events); n > 0 && m.events[n-1].join(&e) {
		return
	}
	if len(m.events) < maxEntryEvents {
		m.events = append(m.events, e)
		return
	}
	if last := &m.events[maxEntryEvents-1]; last.Kind == task.EventMore {
		last.Count++
	} else {
		*last = Event{Kind: task.EventMore, Count: 2} // the one that it takes the place of, too
	}
}

// join adds a later event to e, if it is about jobs that follow.
func (e *Event) join(later *Event) bool {
	if e.Jobs == 0 || e.One || later.One || later.Kind != e.Kind || later.Job != e.Job+uint64(e.Jobs) || later.Queue != e.Queue ||
		later.State != e.State || later.Reason != e.Reason || e.RetryOf != 0 || later.RetryOf != 0 {
		return false
	}
	if later.Name != e.Name {
		e.Name = ""
	}
	e.Jobs += later.Jobs
	e.Tasks += later.Tasks
	return true
}

// tellEntry hands the events of the entry that was applied to those who follow.
func (m *Machine) tellEntry() {
	if len(m.events) == 0 {
		return
	}
	for i := range m.events {
		m.events[i].At = EventPlace{m.applied, uint32(i + 1)}
		m.events[i].TimeNs = m.clock
	}
	m.watchers.events.add(m.events)
	clear(m.events)
	m.events = m.events[:0]
}

func (m *Machine) tellSubmitted(j *job) {
	m.tell(Event{Kind: task.EventSubmitted, Job: j.id, Jobs: 1, Tasks: uint64(j.total), Name: j.spec.Name, Queue: j.spec.Queue, RetryOf: j.retryOf})
}

func (m *Machine) tellCancelling(j *job, reason task.Reason, index *uint32) {
	e := Event{Kind: task.EventCancelling, Job: j.id, Jobs: 1, Tasks: uint64(j.total), Name: j.spec.Name, Queue: j.spec.Queue, Reason: reason}
	if index != nil {
		e.One, e.Task, e.Tasks = true, *index, 1
	}
	m.tell(e)
}

func (m *Machine) tellEnded(j *job) {
	m.tell(Event{
		Kind: task.EventEnded, Job: j.id, Jobs: 1, Tasks: uint64(j.total), Name: j.spec.Name, Queue: j.spec.Queue,
		State: j.counts.JobState(j.total, j.open, j.started != 0), Reason: j.reason,
	})
}

// tellSession tells of a session that was opened, or closed. It has held so many tasks.
func (m *Machine) tellSession(kind task.EventKind, s *session, stopped bool, held uint32) {
	m.tell(Event{Kind: kind, Session: s.pb.Id, Worker: s.pb.Worker, WorkerName: s.pb.Name, Stopped: stopped, Tasks: uint64(held)})
}

// Events is the events of the newest entries. It outlives a machine, as Watchers does. The zero value has all events
// from the first entry on.
type Events struct {
	mu sync.Mutex
	// ring has the events; when it is full, the oldest is at start.
	ring  []Event
	start int
	// lost is the place of the last event that is not in the ring: all events behind it are there.
	lost EventPlace
	// changed is closed when there is a new event; nil: nobody waits.
	changed chan struct{}
}

// add adds the events of one entry.
func (e *Events) add(events []Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, one := range events {
		if len(e.ring) < maxEvents {
			e.ring = append(e.ring, one)
			continue
		}
		e.lost = e.ring[e.start].At
		e.ring[e.start] = one
		e.start = (e.start + 1) % maxEvents
	}
	e.wake()
}

// restart forgets all events: the state begins at an index, and what happened up to it was not seen here.
func (e *Events) restart(index uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ring, e.start, e.lost = nil, 0, EventPlace{}
	if index > 0 {
		e.lost = EventPlace{index, ^uint32(0)}
	}
	e.wake()
}

// wake wakes those who wait. mu is held.
func (e *Events) wake() {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}

// Changed returns a channel that is closed when there is something new. Ask for it before you read.
func (e *Events) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}

// at returns the i-th oldest event. mu is held.
func (e *Events) at(i int) *Event { return &e.ring[(e.start+i)%len(e.ring)] }

// Read returns up to limit events behind a place, the oldest first. If missed, some of those behind it are not here any more; they
// stand at places up to lost, and the events that are returned stand behind it.
func (e *Events) Read(after EventPlace, limit int) (events []Event, lost EventPlace, missed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	missed = after.compare(e.lost) < 0
	first := sort.Search(len(e.ring), func(i int) bool { return e.at(i).At.compare(after) > 0 })
	n := min(limit, len(e.ring)-first)
	events = slices.Grow(events, n)
	for i := range n {
		events = append(events, *e.at(first + i))
	}
	return events, e.lost, missed
}

// Newest returns the place behind which the newest n events stand, or fewer if there are no more.
func (e *Events) Newest(n int) EventPlace {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n < len(e.ring) {
		return e.at(len(e.ring) - n - 1).At
	}
	return e.lost
}
