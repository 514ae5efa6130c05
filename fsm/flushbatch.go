package fsm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// FlushBatch is a consistent picture of everything that changed since the one before, on
// its way to the disk. What it refers to does not change any more; what could
// change was copied.
type FlushBatch struct {
	Meta     *logpb.Meta
	Jobs     []BatchJob
	Keys     []BatchKey
	Sessions []BatchSession
	Access   []BatchAccess
	// Deleted is jobs to be forgotten.
	Deleted []uint64
	// Bytes is about how much it is.
	Bytes int64
}

// BatchJob is what changed of one job.
type BatchJob struct {
	Record *logpb.JobRecord
	// Finished says that the job is final: nothing of it will change again. DueNs is when it may be
	// forgotten then.
	Finished bool
	DueNs    int64
	// Spec is the spec that stands apart; nil: the record had a reference to it before, or
	// has it within.
	Spec     *BatchSpec
	Appends  []*logpb.AppendMark
	Chunks   []BatchChunk
	Segments []ResultSegment
	Attempts []*logpb.Attempt
	Pages    []BatchPage

	// changed is the pages that changed.
	changed []uint32

	job   *job
	whole bool // New and Finished: nothing of it is on disk yet
}

// Whole says that the job began and ended since the last batch.
func (c *BatchJob) Whole() bool { return c.whole }

// BatchSpec is a spec that stands apart.
type BatchSpec struct {
	ID SpecID
	// Raw is its encoding; nil: it is on disk already.
	Raw []byte

	spec *spec
}

// BatchChunk is packed payloads of Count tasks from First on.
type BatchChunk struct {
	First, Count uint32
	Packed       []byte
}

// ResultSegment is results; First is the cursor of the first of Count.
type ResultSegment struct {
	First, Count uint32
	Segment      *logpb.Segment
}

// BatchPage is the slots of page Page that are under way; nil: there are none any more.
type BatchPage struct {
	Page  uint32
	Slots []byte
}

// BatchKey is a request key's record; nil: delete it.
type BatchKey struct {
	Queue, Key string
	Record     *logpb.KeyRecord

	id    string
	entry *keyEntry
}

// BatchSession is an open session; nil: it is closed.
type BatchSession struct {
	ID     uint64
	Record *logpb.Session
}

// BatchAccess is an access token, under its hash; nil: there is none any more.
type BatchAccess struct {
	Hash   []byte
	Record *logpb.AccessToken
}

// Pending returns how many bytes are in no flush batch yet, and how many are being written. It
// does not wait for an Apply that is under way.
func (m *Machine) Pending() (dirty, flushing int64) {
	return m.pending.dirty.Load(), m.pending.flushing.Load()
}

func (m *Machine) showPending() {
	m.pending.dirty.Store(m.dirtyBytes)
	m.pending.flushing.Store(m.flushingBytes)
}

// TakeBatch takes everything that changed since the last one, or returns nil where
// nothing did. Its caller writes it and then calls Flushed, before it takes the next batch.
func (m *Machine) TakeBatch() *FlushBatch {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.metaDirty {
		return nil
	}
	c := &FlushBatch{Meta: m.meta(), Jobs: make([]BatchJob, 0, len(m.dirtyJobs)), Deleted: m.deletedJobs, Bytes: m.dirtyBytes}
	var scratch []byte
	// In the order of their keys: bbolt keeps what a transaction puts into a bucket in sorted arrays,
	// and moves all that is behind it.
	slices.SortFunc(m.dirtyJobs, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	for _, j := range m.dirtyJobs {
		c.Jobs = append(c.Jobs, j.batch(&scratch))
	}
	for _, id := range m.dirtyKeys {
		c.Keys = append(c.Keys, batchKey(id, m.keys[id]))
	}
	for _, id := range sortedKeys(m.dirtySessions) {
		sc := BatchSession{ID: id}
		if s := m.sessions[id]; s != nil {
			sc.Record = s.pb
		}
		c.Sessions = append(c.Sessions, sc)
	}
	for _, hash := range sortedKeys(m.dirtyAccess) {
		c.Access = append(c.Access, BatchAccess{Hash: []byte(hash), Record: m.access[hash]})
	}
	m.metaDirty = false
	m.dirtyJobs, m.dirtyKeys, m.deletedJobs = nil, nil, nil
	clear(m.dirtySessions)
	clear(m.dirtyAccess)
	m.flushingBytes, m.dirtyBytes = m.dirtyBytes, 0
	m.showPending()
	return c
}

func (m *Machine) meta() *logpb.Meta {
	return &logpb.Meta{
		ClusterId: m.clusterID, AppliedIndex: m.applied, AppliedTerm: m.term, ClockNs: m.clock, NextJob: m.nextJob,
		NextToken: m.nextToken, NextSession: m.nextSession, Version: m.active, Digest: m.digest(),
		Configuration: m.configuration, ConfigIndex: m.configIndex, Digests: m.digests[:len(m.digests):len(m.digests)],
		JobsSum: m.jobsSum, SessionsSum: m.sessionsSum, KeysSum: m.keysSum, Servers: m.servers,
		AccessSum: m.accessSum, Incarnation: m.incarnation, Removed: m.removed,
	}
}

func batchKey(id string, e *keyEntry) BatchKey {
	queue, key := splitKeyID(id)
	k := BatchKey{Queue: queue, Key: key, id: id, entry: e}
	e.dirty = false
	if !e.deleted {
		k.Record = &logpb.KeyRecord{Hash: []byte(e.hash), Job: e.job, ExpiresNs: e.expires}
	}
	return k
}

// batch is the job's part of a flush batch. Pages are encoded in scratch, which may grow.
func (j *job) batch(scratch *[]byte) BatchJob {
	c := BatchJob{Record: j.toRecord(), Finished: j.final(), job: j, whole: j.isNew && j.final(), Appends: j.appends[:len(j.appends):len(j.appends)]}
	if c.Finished {
		if c.DueNs = j.forgetAt; c.DueNs == 0 {
			c.DueNs = j.finished + dueBefore(int64(j.spec.Retention), j.counts[task.Succeeded] == j.total)
		}
	}
	j.batchSpec(&c)
	j.batchAttempts(&c)
	for _, ch := range j.chunks {
		c.Chunks = append(c.Chunks, BatchChunk{ch.first, ch.count, ch.packed})
	}
	for _, s := range j.segments {
		c.Segments = append(c.Segments, ResultSegment{s.first, s.count, s.pb})
	}
	for _, n := range j.dirtyPages {
		p := j.page(n)
		p.dirty = false
		*scratch = p.encode((*scratch)[:0])
		switch {
		case len(*scratch) > 0:
			c.Pages = append(c.Pages, BatchPage{n, bytes.Clone(*scratch)})
		case p.stored:
			c.Pages = append(c.Pages, BatchPage{n, nil})
		}
		p.stored = len(*scratch) > 0
	}
	c.changed, j.dirtyPages = j.dirtyPages, nil
	j.dirty, j.isNew = false, false
	return c
}

// batchSpec puts the spec into a batch that has the job's record.
func (j *job) batchSpec(c *BatchJob) {
	s := j.spec
	switch {
	case !s.apart() || j.refersToSpec:
	case c.whole && s.raw != nil && s.size <= specInWhole:
		c.Record.Spec, c.Record.SpecId, c.Record.SpecSum, c.Record.RetentionNs = s.raw, nil, 0, 0
	default:
		c.Spec = &BatchSpec{ID: s.id, Raw: s.raw, spec: s}
		j.refersToSpec = true
	}
}

// toRecord is the job's record, without a spec that stands apart.
func (j *job) toRecord() *logpb.JobRecord {
	r := &logpb.JobRecord{
		Id: j.id, Key: j.key, KeyHash: []byte(j.keyHash), Total: j.total, Open: j.open, Hold: j.hold,
		SubmittedNs: j.submitted, StartedNs: j.started, FinishedNs: j.finished, LastAppendNs: j.lastAppend,
		NotBeforeNs: j.notBefore, ExpireAtNs: j.expireAt, Counts: append([]uint32(nil), j.counts[:]...), Frontier: j.next,
		Received: j.received, RetryOf: j.retryOf, CancelReason: uint32(j.cancelReason), Reason: uint32(j.reason), Sum: j.sum, OwnPayloads: j.ownPayloads,
		Sweep: j.sweep, Retrying: j.retrying, AttemptsSum: j.attemptsSum(), DueNs: j.forgetAt, BaseState: uint32(j.unusualBase()),
	}
	if s := j.spec; s.apart() {
		r.SpecId, r.SpecSum, r.RetentionNs = s.id[:], s.sum, int64(s.Retention)
	} else {
		r.Spec = s.raw
	}
	return r
}

// Flushed says that a batch is safely on disk: what it held is forgotten, but for
// what has changed since.
func (m *Machine) Flushed(c *FlushBatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flushingBytes = 0
	m.showPending()
	for i := range c.Jobs {
		m.flushedJob(&c.Jobs[i])
	}
	for _, k := range c.Keys {
		// The entry may have been replaced by a newer one meanwhile.
		if m.keys[k.id] == k.entry && !k.entry.dirty {
			delete(m.keys, k.id)
		}
	}
	for _, id := range c.Deleted {
		delete(m.collected, id)
	}
}

func (m *Machine) flushedJob(c *BatchJob) {
	j := c.job
	if m.jobs[j.id] != j {
		return // it was collected while it was written, and its spec may have gone with it
	}
	if c.Spec != nil && !c.Spec.spec.within {
		c.Spec.spec.raw = nil
	}
	// Fresh slices: the old arrays would keep alive what they held.
	j.appends = append([]*logpb.AppendMark(nil), j.appends[len(c.Appends):]...)
	j.chunks = append([]chunk(nil), j.chunks[len(c.Chunks):]...)
	j.segments = append([]segment(nil), j.segments[len(c.Segments):]...)
	j.flushedAttempts(c)
	if !j.dirty && j.final() {
		m.forget(j)
		return
	}
	j.retirePages(c.changed)
}

// forget lets go of a final job. The disk has it, or will have it for as long as it
// is kept.
func (m *Machine) forget(j *job) {
	delete(m.jobs, j.id)
	m.jobOrder.Delete(j.id)
	m.release(j.spec)
}

// retirePages drops those of the changed pages whose outcomes are all on disk. It need not look at others, because
// the last outcome of a page changes it. The one exception is the last page of an open job that was not
// full: it stays until the job ends.
func (j *job) retirePages(changed []uint32) {
	written := j.received
	if len(j.segments) > 0 {
		written = j.segments[0].first
	}
	for _, n := range changed {
		p := j.page(n)
		if p == donePage || p.dirty || !j.complete(n) {
			continue
		}
		if p.lastCursor() < written {
			j.setPage(n, donePage)
			p.recycle()
		}
	}
}

// lastCursor is the highest cursor of a page whose tasks are all final.
func (p *page) lastCursor() uint32 {
	if p.alike != nil {
		return uint32(p.alike.at) + uint32(p.final) - 1
	}
	last := uint32(0)
	for k := range p.slots {
		last = max(last, uint32(p.slots[k].at))
	}
	return last
}

// aRun, in the state of a slot, says that the slot begins a run, whose length comes next.
const aRun = 0x80

// encode appends the slots that are touched and not final. Slots that were granted together
// differ in nothing but their tokens, which count up with them: such a run is written once,
// with its length.
func (p *page) encode(b []byte) []byte {
	for k := 0; k < len(p.slots); {
		s := &p.slots[k]
		if s.state == 0 || s.state.Final() {
			k++
			continue
		}
		n, state := p.run(k), byte(s.state)
		if n > 1 {
			state |= aRun
		}
		b = append(b, byte(k), state, byte(s.reason), s.failures, s.lost)
		if n > 1 {
			b = binary.AppendUvarint(b, uint64(n))
		}
		b = binary.AppendUvarint(b, uint64(s.attempt))
		b = binary.AppendUvarint(b, s.token)
		b = binary.AppendVarint(b, s.at)
		b = binary.AppendUvarint(b, s.session)
		k += n
	}
	return b
}

// run is how many slots from k on, k included, differ in nothing but their tokens, which
// count up.
func (p *page) run(k int) int {
	n, next := 1, p.slots[k]
	for k+n < len(p.slots) {
		if next.token++; p.slots[k+n] != next {
			break
		}
		n++
	}
	return n
}

// decode is the inverse of encode. ok is false where b is malformed.
func (p *page) decode(b []byte) (ok bool) {
	for len(b) > 0 {
		if len(b) < 5 {
			return false
		}
		k, n := int(b[0]), uint64(1)
		s := slot{state: task.State(b[1] &^ aRun), reason: task.Reason(b[2]), failures: b[3], lost: b[4]}
		isRun := b[1]&aRun != 0
		b = b[5:]
		if isRun && !uvarint(&b, &n) {
			return false
		}
		if s.state == 0 || s.state >= task.NumStates || s.state.Final() || k >= len(p.slots) || n == 0 || n > uint64(len(p.slots)-k) {
			return false
		}
		var attempt uint64
		if !uvarint(&b, &attempt) || !uvarint(&b, &s.token) {
			return false
		}
		at, size := binary.Varint(b)
		if size <= 0 {
			return false
		}
		b = b[size:]
		if !uvarint(&b, &s.session) {
			return false
		}
		s.attempt, s.at = uint16(attempt), at
		for i := range int(n) {
			p.slots[k+i] = s
			s.token++
		}
	}
	return true
}

// uvarint takes a number from the front of b.
func uvarint(b *[]byte, v *uint64) bool {
	x, size := binary.Uvarint(*b)
	if size <= 0 {
		return false
	}
	*b, *v = (*b)[size:], x
	return true
}
