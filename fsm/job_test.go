package fsm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// mustApply applies an entry with these ops, which must take effect.
func (m *Machine) mustApply(t *testing.T, ops ...*logpb.Op) []Result {
	t.Helper()
	data, err := EncodeEntry(m.ActiveVersion(), 1, ops)
	require.NoError(t, err)
	results, err := m.Apply(m.AppliedIndex()+1, 1, data)
	require.NoError(t, err)
	for _, r := range results {
		require.NoError(t, r.Err)
	}
	return results
}

// opens opens the session of a worker that offers handlers and labels.
func (m *Machine) opens(t *testing.T, worker string, slots uint32, handlers []string, labels ...string) *session {
	t.Helper()
	s := &logpb.Session{Worker: worker, Nonce: []byte(worker), Slots: slots, Handlers: handlers}
	for _, key := range labels {
		s.Labels = append(s.Labels, &logpb.Pair{Key: key, Value: "yes"})
	}
	r := m.mustApply(t, &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: s}}})
	return m.sessions[r[0].Session]
}

func (m *Machine) closes(t *testing.T, s *session) {
	t.Helper()
	m.mustApply(t, &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: s.pb.Id}}})
}

// submits submits a job of so many tasks.
func (m *Machine) submits(t *testing.T, s *task.Spec, count uint32) *job {
	t.Helper()
	spec, err := EncodeSpec(s)
	require.NoError(t, err)
	r := m.mustApply(t, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: count}}}})
	return m.jobs[r[0].Job]
}

// cancels ends a job.
func (m *Machine) cancels(t *testing.T, j *job) {
	t.Helper()
	m.mustApply(t, &logpb.Op{Op: &logpb.Op_Cancel{Cancel: &logpb.Cancel{Job: j.id, Reason: uint32(task.ReasonUser)}}})
}

// submitted is a machine with a session and one job of 300 tasks.
func submitted(t *testing.T, s *task.Spec) (*Machine, *job) {
	t.Helper()
	s.Handler = "h"
	m := New(nil, nil)
	m.opens(t, "w", 300, []string{"h"})
	return m, m.submits(t, s, 300)
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
func saved(m *Machine, change func(*logpb.JobRecord)) (meta *logpb.Meta, sessions []*logpb.Session, access []*logpb.AccessToken, jobs func(func(*SavedJob) error) error) {
	c := m.TakeBatch()
	for _, s := range c.Sessions {
		sessions = append(sessions, s.Record)
	}
	for _, t := range c.Access {
		access = append(access, t.Record)
	}
	return c.Meta, sessions, access, func(yield func(*SavedJob) error) error {
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

// A record without a base state, as older builds wrote them, has the usual one.
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

// A base state that does not follow from the times of a job is stored, is part of the digest, and decides about
// grants.
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
