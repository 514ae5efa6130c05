package fsm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// weighed has ops, and how many tasks each names or makes Apply look at.
type weighed map[string]struct {
	op   *logpb.Op
	want int
}

func TestAnOpNamesItsTasks(t *testing.T) {
	t.Parallel()
	ranges := []*logpb.Range{{First: 3, Count: 4}, {First: 100, Count: 6}} // 10 tasks
	groups := []*logpb.ReportGroup{{Job: 1, Ranges: ranges}, {Job: 2, Ranges: ranges}}
	held := []*logpb.Held{{Job: 1, Ranges: ranges}, {Job: 2, Ranges: ranges[:1]}}
	assign := []*logpb.Assign{{Count: 7}, {First: 7, Count: 2}}
	for name, c := range (weighed{
		"an op without any":      {&logpb.Op{}, 1},
		"a submit":               {submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1000}}), 1},
		"a submit that assigns":  {submitOp(t, &task.Spec{Handler: "h"}, &logpb.Submit{Tasks: &logpb.Tasks{Count: 1000}, Assign: assign}), 10},
		"a plan":                 {&logpb.Op{Op: &logpb.Op_ApplyPlan{ApplyPlan: &logpb.ApplyPlan{Assign: assign}}}, 10},
		"a report":               {&logpb.Op{Op: &logpb.Op_Report{Report: &logpb.Report{Groups: groups}}}, 21},
		"a hello":                {&logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Reports: groups, Held: held}}}, 35},
		"an end of overdue ones": {&logpb.Op{Op: &logpb.Op_Overdue{Overdue: &logpb.Overdue{Held: held}}}, 15},
		"a collect": {&logpb.Op{Op: &logpb.Op_Collect{Collect: &logpb.Collect{
			Jobs: []uint64{1, 2, 3}, Keys: []*logpb.KeyRef{{Key: "k"}, {Key: "l"}},
		}}}, 6},
		"a cancel": {cancelJobOp(1), 1},
	}) {
		require.Equal(t, c.want, fsm.Named(c.op), name)
		require.Equal(t, c.want, fsm.New(nothing{}, nil).Weight(c.op), "%s: there is nothing else to look at", name)
	}
}

// An op of a few bytes may be about all that a job or a session has.
func TestAnOpWeighsWhatApplyLooksAt(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 100)
	job := b.submit(&task.Spec{Handler: "h"}, 3*fsm.PageTasks+1) // 4 pages
	b.plan(job, 0, 10, s)
	b.report(job, 0, 3, 0, task.OutcomeSucceeded)
	large := b.submit(&task.Spec{Handler: "h"}, task.MaxTasks)
	hello := func(replaces uint64) *logpb.Op {
		return &logpb.Op{Op: &logpb.Op_OpenSession{OpenSession: &logpb.OpenSession{Session: &logpb.Session{Worker: "w"}, Replaces: replaces}}}
	}
	closing := func(id uint64) *logpb.Op {
		return &logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: &logpb.CloseSession{Id: id}}}
	}
	for name, c := range (weighed{
		"a cancel of a task":          {cancelOp(job, 5), 1},
		"a cancel":                    {cancelJobOp(job), 1 + 7 + 4},
		"a cancel of a large job":     {cancelJobOp(large), 1 + maxSwept},
		"a cancel of no job":          {cancelJobOp(99), 1},
		"an expiry":                   {expireOp(job), 1 + 7 + 4},
		"an expiry of several":        {expireOp(job, job, 99), 1 + 2*(7+4)},
		"an expiry of a large job":    {expireOp(large), 1 + maxSwept},
		"an expiry of large ones":     {expireOp(large, large, job), 3 + maxSwept},
		"an end of a session":         {closing(s), 1 + 7},
		"an end of no session":        {closing(99), 1},
		"a hello":                     {hello(0), 1},
		"a hello in place of another": {hello(s), 1 + 7},
	}) {
		require.Equal(t, c.want, b.m.Weight(c.op), name)
	}
	require.Greater(t, b.m.Weight(riseOp(fsm.GateVersion)), fsm.MaxEntryTasks, "it stands alone")
}
