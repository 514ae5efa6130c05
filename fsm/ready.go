package fsm

import (
	"cmp"

	"github.com/tidwall/btree"

	"github.com/rota-scheduler/rota/task"
)

// class is the jobs that can run in the same places. Jobs stand in line within
// their class, so that one class that no worker can serve does not hide the others.
type class struct {
	key     string
	queue   string
	handler string // "" for commands
	require []task.Pair
	// specs counts the specs of the class: with the last one it goes.
	specs int
	// ready is the jobs with tasks that can be granted now.
	ready *btree.BTreeG[place]
}

// place is where a job stands in line: by priority, then in order of submit.
type place struct {
	priority int32
	job      *job
}

func (m *Machine) classOf(s *task.Spec) *class {
	key := classKey(s)
	c := m.classes[key]
	if c == nil {
		c = &class{key: key, queue: s.Queue, handler: s.Handler, require: s.Require}
		c.ready = btree.NewBTreeGOptions(func(a, b place) bool {
			if a.priority != b.priority {
				return a.priority > b.priority
			}
			return a.job.id < b.job.id
		}, btree.Options{NoLocks: true})
		m.classes[key] = c
		m.classOrder.Set(key, c)
	}
	c.specs++
	return c
}

// available is how many tasks of j can be granted now, as far as timers have been
// looked at.
func (j *job) available() uint32 {
	if !j.due || j.open && j.hold {
		return 0
	}
	held := j.counts.Held()
	untouched := j.total - j.next
	if j.spec.Serial {
		if held == 0 && (len(j.returned) > 0 || j.live == 0 && untouched > 0) {
			return 1
		}
		return 0
	}
	n := j.returned.count() + untouched
	if limit := j.spec.MaxParallel; limit > 0 {
		n = min(n, limit-min(limit, held))
	}
	return n
}

// updateReady puts j in line or takes it out.
func (m *Machine) updateReady(j *job) {
	ready := !j.final() && j.available() > 0
	if ready {
		m.wake = true
	}
	if ready == j.inReady {
		return
	}
	j.inReady = ready
	if p := (place{j.spec.Priority, j}); ready {
		j.spec.class.ready.Set(p)
	} else {
		j.spec.class.ready.Delete(p)
	}
}

// timer is a moment at which something of a job may change.
type timer struct {
	at    int64
	job   uint64
	index uint32
	kind  uint8
}

const (
	startTimer    uint8 = 1 // the earliest start of a job
	retryTimer    uint8 = 2 // the end of a task's backoff
	deadlineTimer uint8 = 3 // the expiry of a job, or the patience with an open one
)

func newTimers() *btree.BTreeG[timer] {
	return btree.NewBTreeGOptions(func(a, b timer) bool {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.job, b.job), cmp.Compare(a.index, b.index), cmp.Compare(a.kind, b.kind)) < 0
	}, btree.Options{NoLocks: true})
}

// arm sets a timer. Where it is the next one of its kind, the leader must hear of it: it
// sleeps until the one that was.
func (m *Machine) arm(timers *btree.BTreeG[timer], t timer) {
	timers.Set(t)
	if first, _ := timers.Min(); first == t {
		m.wake = true
	}
}

// updateDeadline keeps the next moment at which the leader must look at j.
func (m *Machine) updateDeadline(j *job) {
	at := int64(0)
	if !j.final() {
		at = j.expireAt
		if abandoned := j.lastAppend + int64(task.OpenTimeout); j.open && (at == 0 || abandoned < at) {
			at = abandoned
		}
	}
	if at == j.deadline {
		return
	}
	if j.deadline != 0 {
		m.deadlines.Delete(timer{at: j.deadline, job: j.id, kind: deadlineTimer})
	}
	if j.deadline = at; at != 0 {
		m.arm(m.deadlines, timer{at: at, job: j.id, kind: deadlineTimer})
	}
}

// fireTimers moves what is due at now in line. Nothing of it is replicated: a
// scheduled task whose time has come is granted as it is.
func (m *Machine) fireTimers(now int64) {
	for {
		t, ok := m.timers.Min()
		if !ok || t.at > now {
			return
		}
		m.timers.PopMin()
		j := m.jobs[t.job]
		if j == nil {
			continue
		}
		if t.kind == startTimer {
			j.due = true
		} else {
			j.returned.add(t.index)
		}
		m.updateReady(j)
	}
}

// Due returns jobs whose expiry, or our patience with them, is over at now, and
// the moment of the next timer of any kind (0: none).
func (m *Machine) Due(now int64, limit int) (expired []uint64, next int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.deadlines.Scan(func(t timer) bool {
		if t.at > now || len(expired) == limit {
			next = t.at
			return false
		}
		expired = append(expired, t.job)
		return true
	})
	if t, ok := m.timers.Min(); ok && (next == 0 || t.at < next) {
		next = t.at
	}
	return expired, next
}
