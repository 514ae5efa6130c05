package fsm

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// halfDone is a machine with a job of which some tasks are under way and one is tried again. It has no results.
func halfDone(t *testing.T) (*Machine, *job) {
	t.Helper()
	m, j := submitted(t, &task.Spec{MaxAttempts: 3})
	m.mustApply(t, &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: j.id, Count: 260, Session: 1}}}}})
	m.mustApply(t, &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: 1, Groups: []*logpb.ReportGroup{{
		Job: j.id, TokenOffset: 1, Outcome: uint32(task.OutcomeFailed), Reason: uint32(task.ReasonError), Ranges: []*logpb.Range{{First: 3, Count: 1}},
	}}}}})
	require.Empty(t, m.CheckInvariants())
	return m, j
}

// A machine that is written and read back is the same, and later entries do the same on both.
func TestAMachineIsLoadedAsItWasWritten(t *testing.T) {
	t.Parallel()
	m, j := halfDone(t)
	index, digest := m.Digest()
	again := New(nil, nil)
	require.NoError(t, again.Load(saved(m, nil)))
	require.Empty(t, again.CheckInvariants())
	at, loaded := again.Digest()
	require.Equal(t, index, at)
	require.Equal(t, digest, loaded)
	require.Equal(t, j.counts, again.jobs[j.id].counts)
	require.EqualValues(t, 1, again.jobs[j.id].retrying)
	require.EqualValues(t, 259, again.sessions[1].assigned)
	require.Equal(t, m.nextToken, again.nextToken)
	for _, m := range []*Machine{m, again} {
		m.mustApply(t, &logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: []*logpb.Assign{{Job: j.id, First: 260, Count: 40, Session: 1}}}}})
		require.Empty(t, m.CheckInvariants())
	}
	_, digest = m.Digest()
	_, loaded = again.Digest()
	require.Equal(t, digest, loaded)
}

// A file that contradicts itself is corrupt, and says where.
func TestWhatContradictsItselfIsNotLoaded(t *testing.T) {
	t.Parallel()
	type file struct {
		meta     *logpb.Meta
		sessions *[]*logpb.Session
		access   *[]*logpb.AccessToken
		job      *SavedJob
	}
	for name, c := range map[string]struct {
		harm func(file)
		want string
	}{
		"a state that is missing":         {func(f file) { f.job.Record.Counts = nil }, "malformed record"},
		"more tasks than a job can have":  {func(f file) { f.job.Record.Total = task.MaxTasks + 1 }, "malformed record"},
		"a frontier beyond the job":       {func(f file) { f.job.Record.Frontier = 301 }, "malformed record"},
		"a sweep beyond the job":          {func(f file) { f.job.Record.Sweep = 3 }, "malformed record"},
		"the id of a spec cut short":      {func(f file) { f.job.Record.SpecId = []byte{1} }, "malformed record"},
		"a spec that is none":             {func(f file) { f.job.Record.Spec = []byte{0xff} }, "malformed spec"},
		"slots of a page that it has not": {func(f file) { f.job.Live[2] = nil }, "but a page 2"},
		"slots that are cut short":        {func(f file) { f.job.Live[1] = f.job.Live[1][:3] }, "malformed slots in page 1"},
		"an index of a page that is not":  {func(f file) { f.job.Index = func(y func(uint32, []byte) error) error { return y(9, nil) } }, "but a page 9"},
		"a session that is missing":       {func(f file) { *f.sessions = nil; f.meta.SessionsSum = 0 }, "session 1, which is not open"},
		"a session that nobody knows of":  {func(f file) { *f.sessions = append(*f.sessions, &logpb.Session{Id: 2, Worker: "v"}) }, "do not match their digest"},
		"a token that nobody knows of":    {func(f file) { *f.access = []*logpb.AccessToken{{Hash: make([]byte, task.AccessHashBytes)}} }, "access tokens do not match their digest"},
		"a token cut short":               {func(f file) { *f.access = []*logpb.AccessToken{{Hash: []byte{1}}} }, "malformed access token"},
		"a clock that is another":         {func(f file) { f.meta.ClockNs++ }, "the state has digest"},
		"a next token that is another":    {func(f file) { f.meta.NextToken++ }, "the state has digest"},
		"a server that cannot be":         {func(f file) { f.meta.Servers = []*logpb.ServerRecord{{}} }, "node id"},
		"a version that is not there yet": {func(f file) { f.meta.Version = Version + 1 }, "newer build"},
	} {
		m, _ := halfDone(t)
		meta, sessions, access, jobs := saved(m, nil)
		var one *SavedJob
		require.NoError(t, jobs(func(s *SavedJob) error { one = s; return nil }))
		c.harm(file{meta, &sessions, &access, one})
		err := New(nil, nil).Load(meta, sessions, access, func(yield func(*SavedJob) error) error { return yield(one) })
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
}

// The index says which tasks have an outcome. A page that has only such tasks takes no memory.
func TestPagesWhoseTasksHaveEndedAreLoadedAsDone(t *testing.T) {
	t.Parallel()
	j := &job{id: 1, total: 300}
	index := make([]byte, 4*pageSize)
	for k := range uint32(pageSize) {
		binary.BigEndian.PutUint32(index[4*k:], k+1)
	}
	require.NoError(t, j.loadIndex(0, index))
	require.Same(t, donePage, j.page(0))
	binary.BigEndian.PutUint32(index[4*5:], 0)
	require.NoError(t, j.loadIndex(1, index[:4*pageSize]))
	p := j.page(1)
	require.NotSame(t, donePage, p)
	require.Equal(t, 43, p.final, "of the 44 tasks of the page all but one")
	require.Zero(t, p.slots[5])
	require.Equal(t, slot{state: task.Succeeded, at: 6}, p.slots[6])
}

// A spec that stands apart is read once for all jobs that have it, and is not kept.
func TestASpecThatStandsApartIsLoadedOnce(t *testing.T) {
	t.Parallel()
	raw, err := EncodeSpec(&task.Spec{Handler: "h", Queue: "q", SharedPayload: make([]byte, SpecApart)})
	require.NoError(t, err)
	other, err := EncodeSpec(&task.Spec{Handler: "h"})
	require.NoError(t, err)
	m := New(nil, nil)
	s, _, err := m.intern(raw)
	require.NoError(t, err)
	id := s.id
	m.release(s)
	asked := 0
	load := func(raw []byte) (*spec, error) {
		return m.internSaved(&SavedJob{Record: &logpb.JobRecord{SpecId: id[:]}, Spec: func() ([]byte, error) { asked++; return raw, nil }})
	}
	_, err = load(other)
	require.ErrorContains(t, err, "its spec is another one")
	m = New(nil, nil)
	asked = 0
	for n := range 3 {
		s, err := load(raw)
		require.NoError(t, err)
		require.Equal(t, n+1, s.refs)
		require.Nil(t, s.raw)
		require.Equal(t, "q", s.Queue)
	}
	require.Equal(t, 1, asked)
}
