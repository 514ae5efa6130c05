package fsm

import (
	"cmp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Of 300 tasks some are granted, and the first ones of these are handed back.
func TestHowManyTasksCanBeGranted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spec              task.Spec
		granted, returned uint32
		outcome           task.Outcome // returned, unless it says something else
		harm              func(m *Machine, j *job)
		want              uint32
	}{
		"all":                                {want: 300},
		"those that were not granted":        {granted: 5, want: 295},
		"those that came back, too":          {granted: 5, returned: 2, want: 297},
		"not before its time":                {spec: task.Spec{Delay: time.Hour}, want: 0},
		"one at a time":                      {spec: task.Spec{Serial: true}, want: 1},
		"none while one is under way":        {spec: task.Spec{Serial: true}, granted: 1, want: 0},
		"the one that came back":             {spec: task.Spec{Serial: true}, granted: 1, returned: 1, want: 1},
		"none while one waits to be tried":   {spec: task.Spec{Serial: true, MaxAttempts: 2}, granted: 1, returned: 1, outcome: task.OutcomeFailed, want: 0},
		"as many as may run at once":         {spec: task.Spec{MaxParallel: 3}, want: 3},
		"fewer while some run":               {spec: task.Spec{MaxParallel: 3}, granted: 2, want: 1},
		"none while as many run as may":      {spec: task.Spec{MaxParallel: 3}, granted: 3, want: 0},
		"as many as have left room":          {spec: task.Spec{MaxParallel: 3}, granted: 3, returned: 2, want: 2},
		"none while it waits for other jobs": {harm: func(m *Machine, j *job) { m.setBase(j, task.Blocked) }, want: 0},
		"none while it is held":              {harm: func(_ *Machine, j *job) { j.open, j.hold = true, true }, want: 0},
		"all while it only grows":            {harm: func(_ *Machine, j *job) { j.open = true }, want: 300},
		"none while a sweep goes on":         {harm: func(_ *Machine, j *job) { j.sweep = 1 }, want: 0},
	} {
		m, j := submitted(t, &c.spec)
		if c.granted > 0 {
			require.Equal(t, c.granted, m.assign(&logpb.Assign{Job: j.id, Count: c.granted, Session: 1}), name)
			m.settle()
		}
		if c.returned > 0 {
			g := &logpb.ReportGroup{Job: j.id, TokenOffset: 1, Outcome: uint32(cmp.Or(c.outcome, task.OutcomeReturned)), Ranges: []*logpb.Range{{Count: c.returned}}}
			m.mustApply(t, &logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Session: 1, Groups: []*logpb.ReportGroup{g}}}})
			require.Equal(t, c.outcome == 0, j.cameBack() == c.returned, name)
		}
		require.Empty(t, m.CheckInvariants(), name)
		if c.harm != nil {
			c.harm(m, j)
		}
		require.Equal(t, c.want, j.available(), name)
	}
}

// A job is in line while some of its tasks can be granted.
func TestAJobIsInLineWhileItHasSomethingToGrant(t *testing.T) {
	t.Parallel()
	m, j := submitted(t, &task.Spec{MaxParallel: 2})
	inLine := func() bool {
		require.Empty(t, m.CheckInvariants())
		return j.inReady && j.spec.class.line.Len() == 1
	}
	require.True(t, inLine())
	m.assign(&logpb.Assign{Job: j.id, Count: 2, Session: 1})
	m.settle()
	require.False(t, inLine())
	require.Zero(t, j.spec.class.line.Len())
	m.closes(t, m.sessions[1])
	require.True(t, inLine(), "its tasks come back")
	m.cancels(t, j)
	require.False(t, inLine())
}

func TestTasksComeBackAndStayAway(t *testing.T) {
	t.Parallel()
	j := &job{}
	require.Zero(t, j.cameBack())
	require.False(t, j.hasBack(3))
	j.staysAway(3)
	for _, i := range []uint32{3, 5, 3} {
		j.comesBack(i)
	}
	require.EqualValues(t, 2, j.cameBack())
	require.True(t, j.hasBack(3))
	require.False(t, j.hasBack(4))
	j.staysAway(3)
	require.False(t, j.hasBack(3))
	require.EqualValues(t, 1, j.cameBack())
}

// wakes counts how often the leader is woken.
type wakes struct{ n int }

func (*wakes) Granted(Grant)                           {}
func (*wakes) Stopping(_, _ uint64, _ uint32, _ int64) {}
func (*wakes) SessionClosed(uint64)                    {}
func (w *wakes) Wake()                                 { w.n++ }

func TestWhatCanBeGrantedWakesTheLeader(t *testing.T) {
	t.Parallel()
	m, w := New(nil, nil), &wakes{}
	m.SetObserver(w)
	j := m.submits(t, &task.Spec{Handler: "h"}, 1)
	require.Equal(t, 1, w.n)
	m.cancels(t, j)
	require.Equal(t, 1, w.n, "not by what ends")
	serial := m.submits(t, &task.Spec{Handler: "h", Serial: true}, 1)
	require.Equal(t, 2, w.n)
	m.cancels(t, serial)
	require.Equal(t, 3, w.n, "others may use the slot that was kept for it")
}
