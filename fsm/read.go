package fsm

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// AppliedIndex is the index of the last log entry that was applied.
func (m *Machine) AppliedIndex() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.applied
}

// Applied returns index and term of the last entry, and the clock it set.
func (m *Machine) Applied() (index, term uint64, clock int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.applied, m.term, m.clock
}

// Configuration returns Raft's configuration as encoded in its entry, and that entry's index.
func (m *Machine) Configuration() (encoded []byte, index uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.configuration, m.configIndex
}

// ClusterID is the id of the cluster; "" until the first leader has made it.
func (m *Machine) ClusterID() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.clusterID
}

// Job returns the record of a job in memory, without a spec that stands apart.
func (m *Machine) Job(id uint64) (*logpb.JobRecord, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if j := m.jobs[id]; j != nil {
		return j.toRecord(), true
	}
	return nil, false
}

// Progress returns how many outcomes a job in memory has, and whether it is final.
func (m *Machine) Progress(id uint64) (received uint32, final, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil {
		return 0, false, false
	}
	return j.received, j.final(), true
}

// Appends returns the marks of appends to a job that are in memory, in their order: its newest ones.
func (m *Machine) Appends(id uint64) []*logpb.AppendMark {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if j := m.jobs[id]; j != nil {
		return slices.Clone(j.appends)
	}
	return nil
}

// Collected says that a job was forgotten, though the disk may still have it.
func (m *Machine) Collected(id uint64) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, gone := m.collected[id]
	return gone
}

// KeyCollected says that a request key was forgotten, though the disk may still have it.
func (m *Machine) KeyCollected(queue, key string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e := m.keys[keyID(queue, key)]
	return e != nil && e.deleted
}

// JobsBelow returns up to limit records of jobs in memory with ids below the given
// one (0: from the newest on), in falling order. They have their specs as far as memory has.
func (m *Machine) JobsBelow(id uint64, limit int) []*logpb.JobRecord {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []*logpb.JobRecord
	visit := func(_ uint64, j *job) bool {
		if len(out) == limit {
			return false
		}
		rec := j.toRecord()
		rec.Spec = j.spec.raw
		out = append(out, rec)
		return true
	}
	switch {
	case id == 0:
		m.jobOrder.Reverse(visit)
	case id > 1:
		m.jobOrder.Descend(id-1, visit)
	}
	return out
}

// JobSpec is what memory knows of the spec of a job.
type JobSpec struct {
	ID SpecID
	// Spec has what the machine needs of it, or Whole all. It must not be changed.
	Spec  *task.Spec
	Whole bool
	// ManyValues: Spec has no values, because there are many.
	ManyValues bool
	// Raw is its encoding; nil where that has left memory.
	Raw []byte
	// OwnPayloads: its tasks have payloads of their own.
	OwnPayloads bool
}

// SpecOf returns the spec of a job in memory.
func (m *Machine) SpecOf(id uint64) (s JobSpec, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil {
		return JobSpec{}, false
	}
	return JobSpec{ID: j.spec.id, Spec: j.spec.Spec, Whole: !j.spec.apart(), ManyValues: j.spec.manyValues, Raw: j.spec.raw, OwnPayloads: j.ownPayloads}, true
}

// Task is one task of a job in memory.
type Task struct {
	State     task.State
	Reason    task.Reason
	Attempt   uint32
	Token     uint64
	Worker    string
	Session   uint64
	NotBefore int64
}

// Task returns a task of a job in memory. known is false where only the disk can
// tell: its outcome was recorded, and has left memory.
func (m *Machine) Task(id uint64, i uint32) (t Task, known bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := m.jobs[id]
	if j == nil || i >= j.total {
		return Task{}, false
	}
	s, done := j.slot(i)
	if done {
		return Task{}, false
	}
	t.State = j.stateOf(s)
	if t.State == task.Scheduled {
		t.NotBefore = j.notBefore
	}
	if s == nil || s.state == 0 {
		return t, true
	}
	if s.state.Final() && s.token == 0 {
		return Task{}, false // loaded from disk, or never granted: the disk knows more
	}
	t.Reason, t.Attempt, t.Token, t.Session = s.reason, uint32(s.attempt), s.token, s.session
	switch stopped, why := j.stopped(s); {
	case s.state == task.Scheduled:
		t.NotBefore = s.at
	case s.state.Held() && stopped:
		t.State, t.Reason = task.Stopping, why
	}
	if holder := m.sessions[s.session]; holder != nil {
		t.Worker = holder.name()
	}
	return t, true
}

// KeyJob finds the job of a request key, in memory or on disk.
func (m *Machine) KeyJob(queue, key string) (job uint64, hash string, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	e, ok := m.lookupKey(queue, key)
	return e.job, e.hash, ok
}

func sortedKeys[K cmp.Ordered, V any](set map[K]V) []K {
	out := make([]K, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func splitKeyID(id string) (queue, key string) {
	queue, key, _ = strings.Cut(id, "\x00")
	return queue, key
}
