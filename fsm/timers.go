package fsm

import (
	"cmp"

	"github.com/tidwall/btree"
)

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
	deadlineTimer uint8 = 3 // the expiry of a job, the end of the wait for tasks of an open one, or a sweep that goes on
)

func newTimers() *btree.BTreeG[timer] {
	return btree.NewBTreeGOptions(func(a, b timer) bool {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.job, b.job), cmp.Compare(a.index, b.index), cmp.Compare(a.kind, b.kind)) < 0
	}, btree.Options{NoLocks: true})
}

// arm sets a timer. If no other one comes before it, the leader must hear of it, because the leader
// sleeps until the one that was the next.
func (m *Machine) arm(timers *btree.BTreeG[timer], t timer) {
	timers.Set(t)
	if first, _ := timers.Min(); first == t {
		m.wake = true
	}
}

// atOnce is a moment that has come already.
const atOnce = 1

// updateDeadline keeps the next moment at which the leader must look at j.
func (m *Machine) updateDeadline(j *job) {
	if j.final() {
		return
	}
	at := j.expireAt
	if abandoned := j.lastAppend + int64(m.rules.OpenTimeout); j.open && (at == 0 || abandoned < at) {
		at = abandoned
	}
	if j.sweep != 0 {
		at = atOnce
	}
	m.setDeadline(j, at)
}

// setDeadline sets the next moment at which the leader must look at j; 0: there is none.
func (m *Machine) setDeadline(j *job, at int64) {
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

// maxFired bounds the timers that Advance looks at in one go, with the machine locked: a million
// tasks may be due at once, and the next calls see the rest.
const maxFired = 4096

// fireTimers moves what is due at now in line, and says whether it has left some of it. Nothing
// of it is replicated: a scheduled task whose time has come is granted as it is.
func (m *Machine) fireTimers(now int64) (more bool) {
	for range maxFired {
		t, ok := m.timers.Min()
		if !ok || t.at > now {
			return false
		}
		m.timers.PopMin()
		j := m.jobs[t.job]
		if j == nil {
			continue
		}
		if t.kind == startTimer {
			j.due = true
		} else {
			j.comesBack(t.index)
		}
		m.updateReady(j)
	}
	return m.timersDue(now)
}

// timersDue says whether there is something for fireTimers to do.
func (m *Machine) timersDue(now int64) bool {
	t, ok := m.timers.Min()
	return ok && t.at <= now
}

// Due returns jobs that have expired at now, open jobs that have got no tasks for too long, and jobs whose sweep
// goes on. next is the moment of the next timer of any kind (0: none).
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
