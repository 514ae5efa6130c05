package fsm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// submitted is a machine with a session and one job of 300 tasks.
func submitted(t *testing.T, s *task.Spec) (*Machine, *job) {
	t.Helper()
	s.Handler = "h"
	spec, err := EncodeSpec(s)
	require.NoError(t, err)
	m := New(nil, nil)
	data, err := EncodeEntry(m.ActiveVersion(), 1, []*logpb.Op{
		{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{Worker: "w", Nonce: []byte("w"), Slots: 300, Handlers: []string{"h"}}}}},
		{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: 300}}}},
	})
	require.NoError(t, err)
	results, err := m.Apply(1, 1, data)
	require.NoError(t, err)
	require.NoError(t, results[1].Err)
	return m, m.jobs[results[1].Job]
}

// setBase gives all untouched tasks of j another state, between two entries.
func (m *Machine) setBase(j *job, to task.State) {
	m.touch(j)
	untouched := j.total - j.live - j.counts.Final()
	j.counts[j.base] -= untouched
	j.base = to
	j.counts[to] += untouched
	m.settle()
}

// saved is a job as a flush writes it, changed by change.
func saved(m *Machine, change func(*logpb.JobRecord)) (meta *logpb.Meta, sessions []*logpb.Session, jobs func(func(*SavedJob) error) error) {
	c := m.TakeBatch()
	for _, s := range c.Sessions {
		sessions = append(sessions, s.Record)
	}
	return c.Meta, sessions, func(yield func(*SavedJob) error) error {
		for _, jc := range c.Jobs {
			s := &SavedJob{Record: proto.CloneOf(jc.Record), Live: map[uint32][]byte{}, Index: func(func(uint32, []byte) error) error { return nil }}
			for _, p := range jc.Pages {
				s.Live[p.Page] = p.Slots
			}
			if change != nil {
				change(s.Record)
			}
			if err := yield(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// What says nothing of the base state, as all records before it was stored, has the usual one.
func TestTheBaseStateIsReadFromRecordsThatDoNotHaveIt(t *testing.T) {
	t.Parallel()
	for want, s := range map[task.State]*task.Spec{task.Pending: {}, task.Scheduled: {Delay: time.Hour}} {
		m, j := submitted(t, s)
		require.Equal(t, want, j.base)
		require.Zero(t, j.toRecord().BaseState, "an older build reads it, too")
		_, digest := m.Digest()
		again := New(nil, nil)
		require.NoError(t, again.Load(saved(m, nil)))
		require.Equal(t, want, again.jobs[j.id].base)
		require.EqualValues(t, 300, again.jobs[j.id].counts[want])
		require.Empty(t, again.CheckInvariants())
		_, loaded := again.Digest()
		require.Equal(t, digest, loaded)
	}
}

// A base state that the time of a job does not tell is stored, is a part of the digest, and holds for grants.
func TestTheBaseStateIsStored(t *testing.T) {
	t.Parallel()
	m, j := submitted(t, &task.Spec{})
	_, before := m.Digest()
	m.setBase(j, task.Blocked)
	require.Empty(t, m.CheckInvariants())
	_, digest := m.Digest()
	require.NotEqual(t, before, digest)

	again := New(nil, nil)
	require.NoError(t, again.Load(saved(m, nil)))
	for _, m := range []*Machine{m, again} {
		j := m.jobs[j.id]
		require.Equal(t, task.Blocked, j.base)
		require.Empty(t, m.CheckInvariants())
		_, loaded := m.Digest()
		require.Equal(t, digest, loaded)
		require.Equal(t, digest, m.digest())
		require.Zero(t, m.assign(&logpb.Assign{Job: j.id, Count: 300, Session: 1}))
		require.Zero(t, j.available())
		got, known := m.Task(j.id, 299)
		require.True(t, known)
		require.Equal(t, task.Blocked, got.State)

		m.setBase(j, task.Pending)
		require.EqualValues(t, 300, j.available())
		require.EqualValues(t, 300, m.assign(&logpb.Assign{Job: j.id, Count: 300, Session: 1}))
	}
}

func TestABaseStateInWhichNoTaskWaitsIsRefused(t *testing.T) {
	t.Parallel()
	for _, wrong := range []uint32{uint32(task.Assigned), uint32(task.Stopping), uint32(task.Succeeded), uint32(task.Cancelled), task.NumStates, 256 + uint32(task.Pending)} {
		m, _ := submitted(t, &task.Spec{})
		err := New(nil, nil).Load(saved(m, func(r *logpb.JobRecord) { r.BaseState = wrong }))
		require.ErrorContains(t, err, "malformed record", "base state %d", wrong)
	}
}
