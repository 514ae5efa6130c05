package fsm

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// Ranges may reach to the end of the largest job. The number of tasks in all of them is bounded, and no sum
// overflows.
func TestWhichRangesAnOpMayName(t *testing.T) {
	t.Parallel()
	const tasks, limit = 100, 60
	for name, c := range map[string]struct {
		ranges []*logpb.Range
		ok     bool
	}{
		"none":                {nil, true},
		"to the end":          {[]*logpb.Range{{First: 40, Count: 60}}, true},
		"beyond it":           {[]*logpb.Range{{First: 41, Count: 60}}, false},
		"as many as may be":   {[]*logpb.Range{{First: 0, Count: 30}, {First: 10, Count: 30}}, true},
		"one more":            {[]*logpb.Range{{First: 0, Count: 30}, {First: 10, Count: 31}}, false},
		"first is too many":   {[]*logpb.Range{{First: 0, Count: 61}, {First: 0, Count: 0}}, false},
		"with an end of zero": {[]*logpb.Range{{First: math.MaxUint32, Count: 1}}, false},
		"with a sum of zero":  {[]*logpb.Range{{Count: math.MaxUint32}, {Count: 1}}, false},
	} {
		check := rangeCheck{tasks: tasks, limit: limit}
		check.ranges(c.ranges)
		err := check.err("the op")
		if c.ok {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, task.ErrInvalid, name)
		require.ErrorContains(t, err, "the op names tasks beyond 100, the most that a job can have, or more than 60 in all", name)
	}
}

// Everything in a hello that could break something is checked.
func TestAHelloThatIsNotWellFormedIsRefused(t *testing.T) {
	t.Parallel()
	m := New(nil, nil)
	session := &logpb.Session{Worker: "w", Slots: 1}
	ranges := []*logpb.Range{{First: task.MaxTasks, Count: 1}}
	for want, o := range map[string]*logpb.OpenSession{
		"a session without a worker":    {},
		"worker id":                     {Session: &logpb.Session{Slots: 1}},
		"worker w has 0 slots":          {Session: &logpb.Session{Worker: "w"}},
		"worker w has 4097 slots":       {Session: &logpb.Session{Worker: "w", Slots: 4097}},
		"the hello names tasks beyond":  {Session: session, Held: []*logpb.Held{{Ranges: ranges}}},
		"the report names tasks beyond": {Session: session, Reports: []*logpb.ReportGroup{{Outcome: uint32(task.OutcomeSucceeded), Ranges: ranges}}},
		"the unknown outcome 99":        {Session: session, Reports: []*logpb.ReportGroup{{Outcome: 99}}},
		"the unknown outcome 257":       {Session: session, Reports: []*logpb.ReportGroup{{Outcome: 256 + uint32(task.OutcomeSucceeded)}}},
		"unknown reason 256":            {Session: session, Reports: []*logpb.ReportGroup{{Outcome: uint32(task.OutcomeSucceeded), Reason: 256}}},
	} {
		err := m.checkHello(o)
		require.ErrorIs(t, err, task.ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, m.checkHello(&logpb.OpenSession{Session: session}))
}
