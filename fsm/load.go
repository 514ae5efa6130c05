package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// PageTasks is how many tasks share a page of slots and an index page.
const PageTasks = pageSize

// SavedJob is an unfinished job as it stands on disk.
type SavedJob struct {
	Record *logpb.JobRecord
	// Spec reads its spec where that stands apart. What it returns is not kept.
	Spec func() ([]byte, error)
	// Live is the encoded slots of pages that have tasks under way.
	Live map[uint32][]byte
	// Index calls yield with each index page that exists: for each task of the page its cursor
	// plus 1, 4 bytes big-endian; 0: not final. Pages are not kept: there may be 40,000.
	Index func(yield func(page uint32, index []byte) error) error
}

// Load fills an empty machine from disk. An error means that what was read
// contradicts itself: the file is corrupt.
func (m *Machine) Load(meta *logpb.Meta, sessions []*logpb.Session, access []*logpb.AccessToken, jobs func(yield func(*SavedJob) error) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clusterID, m.applied, m.term, m.clock = meta.ClusterId, meta.AppliedIndex, meta.AppliedTerm, meta.ClockNs
	m.nextJob, m.nextToken, m.nextSession = meta.NextJob, meta.NextToken, meta.NextSession
	m.configuration, m.configIndex, m.digests = meta.Configuration, meta.ConfigIndex, meta.Digests
	m.jobsSum, m.sessionsSum, m.keysSum = meta.JobsSum, meta.SessionsSum, meta.KeysSum
	if err := CheckVersion(meta.Version); err != nil {
		return err
	}
	m.setActive(meta.Version)
	if meta.Version < GateVersion && meta.ClusterId == "" {
		m.setActive(0) // nothing was applied yet, whatever build has made the file
	}
	if err := checkServers(meta.Servers); err != nil {
		return err
	}
	m.servers = meta.Servers
	if err := checkIncarnation(meta.Incarnation); err != nil {
		return err
	}
	m.incarnation = meta.Incarnation
	if err := checkRemoved(meta.Removed); err != nil {
		return err
	}
	m.removed = meta.Removed
	sum := uint64(0)
	for _, pb := range sessions {
		m.addSession(pb)
		sum += sessionHash(pb)
	}
	if sum != meta.SessionsSum {
		return fmt.Errorf("the sessions do not match their digest")
	}
	if err := m.loadAccess(access, meta.AccessSum); err != nil {
		return err
	}
	if err := jobs(m.loadJob); err != nil {
		return err
	}
	if got := m.digest(); got != meta.Digest {
		return fmt.Errorf("the state has digest %x, it was written with %x", got, meta.Digest)
	}
	m.derive()
	m.watchers.events.restart(m.applied)
	return nil
}

func (m *Machine) loadJob(saved *SavedJob) error {
	r := saved.Record
	s, err := m.internSaved(saved)
	if err != nil {
		return fmt.Errorf("job %d: %w", r.Id, err)
	}
	if len(r.Counts) != task.NumStates || r.Total > uint32(m.rules.MaxTasks) || r.Frontier > r.Total {
		return fmt.Errorf("job %d: malformed record", r.Id)
	}
	j := &job{
		id: r.Id, spec: s, key: r.Key, keyHash: string(r.KeyHash), total: r.Total, open: r.Open, hold: r.Hold, retryOf: r.RetryOf,
		submitted: r.SubmittedNs, started: r.StartedNs, finished: r.FinishedNs, lastAppend: r.LastAppendNs, notBefore: r.NotBeforeNs,
		refersToSpec: len(r.SpecId) > 0, expireAt: r.ExpireAtNs, cancelReason: task.Reason(r.CancelReason), reason: task.Reason(r.Reason), next: r.Frontier,
		received: r.Received, appends: r.Appends, sum: r.Sum, ownPayloads: r.OwnPayloads, sweep: r.Sweep,
	}
	if r.AttemptsSum != 0 {
		j.rare = &rare{attemptsSum: r.AttemptsSum}
	}
	var ok bool
	if j.base, ok = baseOf(r); !ok || j.sweep > j.pageCount() {
		return fmt.Errorf("job %d: malformed record", r.Id)
	}
	copy(j.counts[:], r.Counts)
	if err := saved.Index(j.loadIndex); err != nil {
		return err
	}
	for n, live := range saved.Live {
		if err := m.loadLive(j, n, live); err != nil {
			return err
		}
	}
	m.jobs[j.id] = j
	m.jobOrder.Set(j.id, j)
	if !j.final() {
		m.liveJobs++
	}
	return nil
}

// internSaved returns the shared spec of a job on disk.
func (m *Machine) internSaved(saved *SavedJob) (*spec, error) {
	r := saved.Record
	if len(r.SpecId) == 0 {
		s, _, err := m.intern(r.Spec)
		if err == nil && s.apart() {
			s.raw, s.within = r.Spec, true
		}
		return s, err
	}
	if len(r.SpecId) != len(SpecID{}) {
		return nil, fmt.Errorf("malformed record")
	}
	if s := m.specs[SpecID(r.SpecId)]; s != nil {
		s.refs++
		return s, nil
	}
	raw, err := saved.Spec()
	if err != nil {
		return nil, err
	}
	s, _, err := m.intern(raw)
	if err != nil {
		return nil, err
	}
	s.raw, s.counted = nil, true
	if s.id != SpecID(r.SpecId) || !s.apart() {
		return nil, fmt.Errorf("its spec is another one than %x", r.SpecId)
	}
	return s, nil
}

func (j *job) loadIndex(n uint32, index []byte) error {
	p, err := j.loadPage(n)
	if err != nil {
		return err
	}
	for k := range p.slots {
		if len(index) < 4*k+4 {
			break
		}
		if c := binary.BigEndian.Uint32(index[4*k:]); c > 0 {
			// Final, and no more is needed of it: its token is asked of History.
			p.slots[k] = slot{state: task.Succeeded, at: int64(c - 1)}
			p.final++
		}
	}
	if j.complete(n) {
		j.setPage(n, donePage)
		p.recycle()
	}
	return nil
}

func (m *Machine) loadLive(j *job, n uint32, live []byte) error {
	p, err := j.loadPage(n)
	if err != nil {
		return err
	}
	if !p.decode(live) {
		return fmt.Errorf("job %d: malformed slots in page %d", j.id, n)
	}
	p.stored = true
	for k := range p.slots {
		s := &p.slots[k]
		if s.state == 0 || s.state.Final() {
			continue
		}
		i := n*pageSize + uint32(k)
		j.live++
		m.outstandingLive++
		if s.triedAgain() {
			j.retrying++
		}
		if s.state.Held() {
			holder := m.sessions[s.session]
			if holder == nil {
				return fmt.Errorf("task %d.%d is held by session %d, which is not open", j.id, i, s.session)
			}
			holder.hold(j.id, i)
		}
	}
	return nil
}

func (j *job) loadPage(n uint32) (*page, error) {
	if n >= j.pageCount() {
		return nil, fmt.Errorf("job %d has %d tasks, but a page %d", j.id, j.total, n)
	}
	if j.page(n) == nil {
		j.setPage(n, newPage(j.pageTasks(n)))
	}
	return j.page(n), nil
}
