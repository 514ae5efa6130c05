package fsm

import (
	"cmp"
	"slices"
	"time"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// keyEntry is a request key whose record is not yet on disk.
type keyEntry struct {
	hash    string
	job     uint64
	expires int64
	// replaces is the digest of the record it takes the place of; 0: none.
	replaces uint64
	// deleted: it was collected.
	deleted bool
	dirty   bool
}

func keyID(queue, key string) string { return queue + "\x00" + key }

// putKey writes a request key's record.
func (m *Machine) putKey(queue, key string, e *keyEntry) {
	m.keysSum -= e.replaces
	if !e.deleted {
		m.keysSum += keyHashOf(queue, key, e.job, e.expires)
	}
	id := keyID(queue, key)
	if old := m.keys[id]; old == nil || !old.dirty {
		m.dirtyKeys = append(m.dirtyKeys, id)
	}
	e.dirty = true
	m.keys[id] = e
	m.dirtyBytes += int64(len(id)) + 64
}

// lookupKey finds a request key in memory, then on disk.
func (m *Machine) lookupKey(queue, key string) (keyEntry, bool) {
	if e := m.keys[keyID(queue, key)]; e != nil {
		return *e, !e.deleted
	}
	rec, ok := m.history.Key(queue, key)
	if !ok {
		return keyEntry{}, false
	}
	return keyEntry{hash: string(rec.Hash), job: rec.Job, expires: rec.ExpiresNs}, true
}

func (m *Machine) submit(o *logpb.Submit, r *Result) {
	s, err := m.takeSpec(o)
	if err != nil {
		r.Err = err
		return
	}
	if o.Key != "" {
		if e, ok := m.lookupKey(s.Queue, o.Key); ok {
			m.release(s)
			r.Job, r.Existed = e.job, true
			if e.hash != string(o.Hash) {
				r.Err = task.Errorf(task.KindConflict, "request key %q in queue %q was used for job %d with another content: use a new key", o.Key, s.Queue, e.job)
			}
			return
		}
	}
	err = m.checkPlan(o.Assign)
	if err == nil {
		err = m.roomForJob()
	}
	if err == nil {
		err = m.checkTasks(nil, o.Tasks, o.Open)
	}
	if err != nil {
		m.release(s)
		r.Err = err
		return
	}
	j := &job{
		id: m.nextJob, spec: s, key: o.Key, open: o.Open, hold: o.Hold && o.Open, retryOf: o.RetryOf,
		submitted: m.clock, lastAppend: m.clock, isNew: true,
	}
	m.nextJob++
	if s.apart() && !s.counted {
		s.counted = true
		m.dirtyBytes += int64(s.size)
	}
	switch {
	case s.Delay > 0:
		j.notBefore = m.clock + int64(s.Delay)
	case s.NotBefore > m.clock:
		j.notBefore = s.NotBefore
	}
	if s.Expire > 0 {
		j.expireAt = m.clock + int64(s.Expire)
	}
	j.base = usualBase(j.notBefore)
	if j.notBefore > 0 {
		m.arm(m.timers, timer{at: j.notBefore, job: j.id, kind: startTimer})
	} else {
		j.due = true
	}
	// A new job has no share in the digest yet: touch would take one out.
	j.touched = true
	m.touched = append(m.touched, j)
	m.jobs[j.id] = j
	m.jobOrder.Set(j.id, j)
	m.liveJobs++
	m.grow(j, o.Tasks)
	if o.Key != "" {
		j.keyHash = string(o.Hash)
		m.putKey(s.Queue, o.Key, &keyEntry{hash: j.keyHash, job: j.id})
	}
	r.Job, r.Total = j.id, j.total
	m.watchers.tally.submitted.Add(1)
	m.tellSubmitted(j)
	for _, a := range o.Assign {
		r.Granted += m.assign(&logpb.Assign{Job: j.id, First: a.First, Count: a.Count, Session: a.Session})
	}
}

// roomForJob says whether there may be one more job. A job whose last task ends in the same entry
// still counts.
func (m *Machine) roomForJob() error {
	if m.liveJobs < cmp.Or(m.mostLiveJobs, m.rules.MaxLiveJobs) {
		return nil
	}
	return task.Errorf(task.KindExhausted,
		"the cluster has %d jobs that have not ended, the limit: wait for some to end, or cancel what is not needed; many small tasks are better submitted as one job", m.liveJobs)
}

// checkTasks says whether tasks can be added to those of j; nil: a new job.
func (m *Machine) checkTasks(j *job, t *logpb.Tasks, open bool) error {
	count, own, have := t.GetCount(), len(t.GetPacked()) > 0, uint32(0)
	if j != nil {
		have = j.total
	}
	switch {
	case count == 0 && !open:
		return task.Errorf(task.KindInvalid, "a job needs at least one task")
	case uint64(have)+uint64(count) > uint64(m.rules.MaxTasks):
		return task.Errorf(task.KindTooLarge, "%d tasks are more than a job can have (%d): split it into several jobs", uint64(have)+uint64(count), m.rules.MaxTasks)
	}
	if have > 0 && count > 0 && own != j.ownPayloads {
		return task.Errorf(task.KindConflict, "job %d: either all tasks have payloads of their own or none", j.id)
	}
	if own {
		return task.PackCheck(t.Packed, int(count), m.rules.MaxPayload)
	}
	return nil
}

// grow adds tasks to a job. checkTasks has passed them.
func (m *Machine) grow(j *job, t *logpb.Tasks) {
	count := t.GetCount()
	if count == 0 {
		return
	}
	first := j.total
	j.total += count
	j.ownPayloads = len(t.Packed) > 0
	j.counts[j.base] += count
	if packed := t.Packed; len(packed) > 0 {
		m.dirtyBytes += int64(len(packed)) + 32
		// Cut to a page's worth, so that finding one payload never walks far.
		for count > 0 {
			n := min(count, pageSize)
			rest, _ := task.PackSkip(packed, int(n))
			size := len(packed) - len(rest)
			j.chunks = append(j.chunks, chunk{first: first, count: n, packed: packed[:size:size]})
			first, count, packed = first+n, count-n, rest
		}
	}
}

func (m *Machine) appendTasks(o *logpb.AppendTasks, r *Result) {
	g, err := m.growing(o.Job)
	if err != nil {
		r.Err = err
		return
	}
	r.Job, r.Total = o.Job, g.total
	hash := hashBytes(o.Tasks.GetPacked())
	switch {
	case o.FirstIndex > g.total:
		r.Err = task.Errorf(task.KindInvalid, "job %d has %d tasks: tasks from %d on would leave a gap", o.Job, g.total, o.FirstIndex)
		return
	case o.Tasks.GetCount() == 0 && g.open:
		// Whoever makes the job is still there.
		m.touch(g.job)
		g.job.lastAppend = m.clock
		return
	case o.FirstIndex < g.total:
		if a, ok := m.appended(g.job, o.Job, o.FirstIndex); ok && a.Count == o.Tasks.GetCount() && a.Hash == hash {
			r.Existed = true
			return
		}
		r.Err = task.Errorf(task.KindConflict, "job %d has other tasks at index %d already", o.Job, o.FirstIndex)
		return
	case !g.open:
		r.Err = task.Errorf(task.KindConflict, "job %d is closed: it takes no more tasks", o.Job)
		return
	}
	j := g.job
	if err := m.checkTasks(j, o.Tasks, true); err != nil {
		r.Err = err
		return
	}
	m.touch(j)
	j.appends = append(j.appends, &logpb.AppendMark{First: o.FirstIndex, Count: o.Tasks.Count, Hash: hash})
	m.dirtyBytes += appendMarkBytes
	j.lastAppend = m.clock
	m.grow(j, o.Tasks)
	r.Total = j.total
}

// appended returns the mark of the tasks that were appended to a job from first on. It looks in
// memory, then on disk. j is nil if the job has left memory.
func (m *Machine) appended(j *job, id uint64, first uint32) (*logpb.AppendMark, bool) {
	if j != nil {
		k, found := slices.BinarySearchFunc(j.appends, first, func(a *logpb.AppendMark, i uint32) int { return cmp.Compare(a.First, i) })
		if found {
			return j.appends[k], true
		}
		if j.isNew {
			return nil, false
		}
	}
	return m.history.Append(id, first)
}

func (m *Machine) closeTasks(o *logpb.CloseTasks, r *Result) {
	g, err := m.growing(o.Job)
	if err != nil {
		r.Err = err
		return
	}
	r.Job, r.Total = o.Job, g.total
	switch {
	case o.Total != g.total:
		r.Err = task.Errorf(task.KindConflict, "job %d has %d tasks, not %d: append the missing ones first", o.Job, g.total, o.Total)
	case !g.open:
		r.Existed = true
	case g.total == 0:
		r.Err = task.Errorf(task.KindInvalid, "job %d has no tasks: append some, or cancel it", o.Job)
	default:
		m.touch(g.job)
		g.job.open, g.job.hold = false, false
	}
}

// growth is what decides whether a job may grow. A request that is sent again gets the same
// answer as before, also after the job has ended and left memory.
type growth struct {
	// job is nil where it has left memory; it is not open then.
	job   *job
	total uint32
	open  bool
}

// growing finds a job that was not cancelled.
func (m *Machine) growing(id uint64) (growth, error) {
	var g growth
	var cancelled task.Reason
	if j := m.jobs[id]; j != nil {
		g, cancelled = growth{j, j.total, j.open}, j.cancelReason
	} else if rec, ok := m.finished(id); ok {
		g, cancelled = growth{nil, rec.Total, false}, task.Reason(rec.CancelReason)
	} else {
		return growth{}, NoSuchJob(id)
	}
	if cancelled != 0 {
		return growth{}, task.Errorf(task.KindConflict, "job %d was cancelled (%v): submit it again", id, cancelled)
	}
	return g, nil
}

// gone says what became of a job that is not in memory.
func (m *Machine) gone(id uint64) error {
	if rec, ok := m.finished(id); ok {
		return task.Errorf(task.KindConflict, "job %d ended at %s", id, time.Unix(0, rec.FinishedNs).UTC().Format(time.RFC3339))
	}
	return NoSuchJob(id)
}

// NoSuchJob is the error for an unknown job.
func NoSuchJob(id uint64) error {
	return task.Errorf(task.KindNotFound, "there is no job %d: it never was, or its retention is over", id)
}

// finished returns the record of a finished job that has left memory.
func (m *Machine) finished(id uint64) (*logpb.JobRecord, bool) {
	if _, collected := m.collected[id]; collected {
		return nil, false
	}
	return m.history.Job(id)
}
