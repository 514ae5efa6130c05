package deterministic

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// disk is what a replica has written, in the place of state.db. It implements fsm.History.
type disk struct {
	meta     *logpb.Meta
	jobs     map[uint64]*diskJob
	specs    map[fsm.SpecID]diskSpec
	keys     map[string]*logpb.KeyRecord
	sessions map[uint64]*logpb.Session
	access   map[string]*logpb.AccessToken // by hash
}

// diskSpec is a spec that stands apart from the records of so many jobs.
type diskSpec struct {
	raw  []byte
	jobs int
}

type diskJob struct {
	record *logpb.JobRecord
	live   map[uint32][]byte
	// appends by first index.
	appends map[uint32]*logpb.AppendMark
	// cursors of outcomes, by task.
	cursors  map[uint32]uint32
	segments []fsm.ResultSegment
	// attempts that did not end their tasks, all of them.
	attempts []*logpb.Attempt
}

func newDisk() *disk {
	_, digest := fsm.New(nil, nil).Digest()
	return &disk{
		meta: &logpb.Meta{NextJob: 1, NextToken: 1, NextSession: 1, Digest: digest},
		jobs: map[uint64]*diskJob{}, specs: map[fsm.SpecID]diskSpec{}, keys: map[string]*logpb.KeyRecord{}, sessions: map[uint64]*logpb.Session{},
		access: map[string]*logpb.AccessToken{},
	}
}

// clone is a copy that does not follow the disk. Values on a disk are replaced, and never changed in place.
func (d *disk) clone() *disk {
	out := &disk{meta: d.meta, jobs: map[uint64]*diskJob{}, specs: maps.Clone(d.specs), keys: maps.Clone(d.keys), sessions: maps.Clone(d.sessions), access: maps.Clone(d.access)}
	for id, j := range d.jobs {
		out.jobs[id] = &diskJob{j.record, maps.Clone(j.live), maps.Clone(j.appends), maps.Clone(j.cursors), slices.Clone(j.segments), slices.Clone(j.attempts)}
	}
	return out
}

// write writes a flush batch.
func (d *disk) write(c *fsm.FlushBatch) {
	d.meta = c.Meta
	for i := range c.Jobs {
		d.writeJob(&c.Jobs[i])
		if s := c.Jobs[i].Spec; s != nil {
			d.refer(s.ID, s.Raw, 1)
		}
	}
	for _, id := range c.Deleted {
		if j := d.jobs[id]; j != nil && len(j.record.SpecId) > 0 {
			d.refer(fsm.SpecID(j.record.SpecId), nil, -1)
		}
		delete(d.jobs, id)
	}
	for id, s := range d.specs {
		if s.jobs == 0 {
			delete(d.specs, id)
		}
	}
	for _, k := range c.Keys {
		if id := k.Queue + "\x00" + k.Key; k.Record == nil {
			delete(d.keys, id)
		} else {
			d.keys[id] = k.Record
		}
	}
	for _, s := range c.Sessions {
		if s.Record == nil {
			delete(d.sessions, s.ID)
		} else {
			d.sessions[s.ID] = s.Record
		}
	}
	for _, t := range c.Access {
		if t.Record == nil {
			delete(d.access, string(t.Hash))
		} else {
			d.access[string(t.Hash)] = t.Record
		}
	}
}

// refer notes that so many jobs more have a spec. raw is nil if it is known.
func (d *disk) refer(id fsm.SpecID, raw []byte, jobs int) {
	s := d.specs[id]
	if s.raw == nil {
		s.raw = raw
	}
	if s.jobs += jobs; s.jobs < 0 || s.raw == nil {
		panic(fmt.Sprintf("deterministic: %d jobs have a spec of %d bytes", s.jobs, len(s.raw)))
	}
	d.specs[id] = s
}

func (d *disk) writeJob(c *fsm.BatchJob) {
	j := d.jobs[c.Record.Id]
	if j == nil {
		j = &diskJob{live: map[uint32][]byte{}, appends: map[uint32]*logpb.AppendMark{}, cursors: map[uint32]uint32{}}
		d.jobs[c.Record.Id] = j
	}
	j.record = c.Record
	for _, a := range c.Appends {
		j.appends[a.First] = a
	}
	j.attempts = append(j.attempts, c.Attempts...)
	for _, p := range c.Pages {
		if p.Slots == nil {
			delete(j.live, p.Page)
		} else {
			j.live[p.Page] = p.Slots
		}
	}
	for _, s := range c.Segments {
		cursor := s.First
		for _, r := range s.Segment.Ranges {
			for i := r.First; i < r.First+r.Count; i++ {
				j.cursors[i] = cursor
				cursor++
			}
		}
		j.segments = append(j.segments, s)
	}
}

// load makes the machine that the disk holds. It reads in the order of keys, as state.db does: the machine must not
// depend on the order of a map.
func (d *disk) load() (*fsm.Machine, error) {
	m := fsm.New(d, fsm.NewWatchers())
	var sessions []*logpb.Session
	for _, id := range sorted(d.sessions) {
		sessions = append(sessions, d.sessions[id])
	}
	var access []*logpb.AccessToken
	for _, hash := range sorted(d.access) {
		access = append(access, d.access[hash])
	}
	return m, m.Load(d.meta, sessions, access, func(yield func(*fsm.SavedJob) error) error {
		for _, id := range sorted(d.jobs) {
			j := d.jobs[id]
			if j.record.FinishedNs != 0 {
				continue
			}
			if err := yield(&fsm.SavedJob{Record: j.record, Spec: d.specOf(j.record), Live: j.live, Index: j.eachIndex}); err != nil {
				return err
			}
		}
		return nil
	})
}

// specOf reads the spec that stands apart from a record.
func (d *disk) specOf(rec *logpb.JobRecord) func() ([]byte, error) {
	return func() ([]byte, error) { return d.specs[fsm.SpecID(rec.SpecId)].raw, nil }
}

// eachIndex calls yield with the index pages of a job as they stand in state.db.
func (j *diskJob) eachIndex(yield func(page uint32, index []byte) error) error {
	pages := map[uint32][]byte{}
	for i, cursor := range j.cursors {
		n := i / fsm.PageTasks
		if pages[n] == nil {
			pages[n] = make([]byte, 4*fsm.PageTasks)
		}
		binary.BigEndian.PutUint32(pages[n][4*(i%fsm.PageTasks):], cursor+1)
	}
	for _, n := range sorted(pages) {
		if err := yield(n, pages[n]); err != nil {
			return err
		}
	}
	return nil
}

// Key implements fsm.History.
func (d *disk) Key(queue, key string) (*logpb.KeyRecord, bool) {
	rec, ok := d.keys[queue+"\x00"+key]
	return rec, ok
}

// Job implements fsm.History.
func (d *disk) Job(id uint64) (*logpb.JobRecord, bool) {
	if j := d.jobs[id]; j != nil {
		return j.record, true
	}
	return nil, false
}

// Append implements fsm.History.
func (d *disk) Append(job uint64, first uint32) (*logpb.AppendMark, bool) {
	if j := d.jobs[job]; j != nil {
		return j.appends[first], j.appends[first] != nil
	}
	return nil, false
}

// Tokens implements fsm.History.
func (d *disk) Tokens(job uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) {
	for _, r := range tasks {
		for i := r.First; i < r.First+r.Count; i++ {
			f(task.Range{First: i, Count: 1}, d.token(job, i))
		}
	}
}

// tokens asks the disk of a replica, as History.Tokens does.
func (r *replica) tokens(job uint64, tasks []task.Range, f func(task.Range, fsm.LastToken)) error {
	r.disk.Tokens(job, tasks, f)
	return nil
}

func (d *disk) token(job uint64, i uint32) fsm.LastToken {
	j := d.jobs[job]
	if j == nil {
		return fsm.LastToken{}
	}
	cursor, ok := j.cursors[i]
	if !ok {
		return fsm.LastToken{}
	}
	from := j.from(cursor)
	if len(from) == 0 {
		return fsm.LastToken{}
	}
	s := from[0].Segment
	return fsm.LastToken{TokenOffset: s.TokenOffset, Granted: s.Granted, Known: true, Unreported: s.Unreported}
}

// from returns the segments from the one with a cursor on.
func (j *diskJob) from(cursor uint32) []fsm.ResultSegment {
	k := slices.IndexFunc(j.segments, func(s fsm.ResultSegment) bool { return cursor < s.First+s.Count })
	if k < 0 {
		return nil
	}
	return j.segments[k:]
}
