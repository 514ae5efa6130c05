package fsm

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// split begins a run of tasks at each of these indexes, which are in order.
func (j *job) split(at ...uint32) {
	if j.rare == nil {
		j.rare = &rare{}
	}
	for _, first := range at {
		j.rare.runs = append(j.rare.runs, run{first: first, next: first})
	}
}

// Each run is granted in index order, independently of the others, and ends where the next one begins.
func TestRunsOfTasksAreGrantedEachInOrder(t *testing.T) {
	t.Parallel()
	m, j := submitted(t, &task.Spec{})
	j.split(100, 260)
	grant := func(first, count uint32) uint32 {
		granted := m.assign(&logpb.Assign{Job: j.id, First: first, Count: count, Session: 1})
		m.settle()
		require.Empty(t, m.CheckInvariants())
		return granted
	}
	ahead := func() []task.Range { return slices.Collect(j.ahead()) }
	require.Equal(t, []task.Range{{First: 0, Count: 100}, {First: 100, Count: 160}, {First: 260, Count: 40}}, ahead())
	require.EqualValues(t, 300, j.available())
	require.Zero(t, grant(1, 5), "not at a frontier")
	require.Zero(t, grant(101, 5))
	require.EqualValues(t, 5, grant(260, 5))
	require.EqualValues(t, 20, grant(100, 20))
	require.Zero(t, grant(100, 20), "it was granted")
	require.EqualValues(t, 275, j.available())
	require.Equal(t, []task.Range{{First: 0, Count: 100}, {First: 120, Count: 140}, {First: 265, Count: 35}}, ahead())

	// The first run ends at the second, of which some were granted.
	require.EqualValues(t, 100, grant(0, 100))
	require.EqualValues(t, 100, j.next)
	require.Equal(t, []task.Range{{First: 120, Count: 140}, {First: 265, Count: 35}}, ahead())
	require.EqualValues(t, 140+35, grant(120, 180), "through all that is left")
	require.Empty(t, ahead())
	require.Zero(t, j.available())
}

// A view shows what lies beyond each frontier.
func TestAViewShowsAllRunsOfAJob(t *testing.T) {
	t.Parallel()
	m, j := submitted(t, &task.Spec{})
	j.split(100)
	m.assign(&logpb.Assign{Job: j.id, Count: 100, Session: 1})
	m.assign(&logpb.Assign{Job: j.id, First: 100, Count: 3, Session: 1})
	m.settle()
	j.split(200)
	v, _ := m.AdvanceAndView(1, 0, func(s []SessionView) { s[0].Extra = task.MaxOutstanding })
	require.Equal(t, []task.Range{{First: 103, Count: 97}, {First: 200, Count: 100}}, v.Queues[0].Jobs[0].Ranges)
}

// The last run grows with an open job.
func TestTheLastRunGrows(t *testing.T) {
	t.Parallel()
	m, j := submitted(t, &task.Spec{})
	j.split(299)
	require.EqualValues(t, 1, m.assign(&logpb.Assign{Job: j.id, First: 299, Count: 1, Session: 1}))
	m.grow(j, &logpb.Tasks{Count: 2})
	require.Equal(t, []task.Range{{First: 0, Count: 299}, {First: 300, Count: 2}}, slices.Collect(j.ahead()))
}

// A sweep ends the tasks that no run has reached, and a cancel of one task moves the frontier of its run.
func TestEndedTasksAreBehindTheFrontierOfTheirRun(t *testing.T) {
	t.Parallel()
	m, j := submitted(t, &task.Spec{})
	j.split(100, 200)
	cancel := func(i uint32) {
		m.cancel(&logpb.Cancel{Job: j.id, Index: &i, Reason: uint32(task.ReasonUser)}, &Result{})
		m.settle()
		require.Empty(t, m.CheckInvariants())
	}
	cancel(101)
	require.EqualValues(t, 100, j.moreRuns()[0].next)
	cancel(100)
	require.EqualValues(t, 102, j.moreRuns()[0].next)
	require.Zero(t, j.next)
	require.EqualValues(t, 200, j.moreRuns()[1].next)
	m.cancel(&logpb.Cancel{Job: j.id, Reason: uint32(task.ReasonUser)}, &Result{})
	m.settle()
	require.Empty(t, m.CheckInvariants())
	require.Empty(t, slices.Collect(j.ahead()))
	require.Zero(t, j.aheadCount())
}

// Whatever is granted and cancelled, in whatever runs: frontiers are where CheckInvariants expects them, and each
// task is granted once.
func TestRunsCoverAllTasks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m, j := submitted(t, &task.Spec{})
		firsts := rapid.SliceOfNDistinct(rapid.Uint32Range(1, j.total-1), 0, 8, rapid.ID).Draw(rt, "runs")
		slices.Sort(firsts)
		j.split(firsts...)
		for range rapid.IntRange(0, 20).Draw(rt, "steps") {
			i := rapid.Uint32Range(0, j.total-1).Draw(rt, "task")
			if rapid.Bool().Draw(rt, "cancel") {
				m.cancel(&logpb.Cancel{Job: j.id, Index: &i, Reason: uint32(task.ReasonUser)}, &Result{})
			} else {
				next, _ := j.frontier(i)
				m.assign(&logpb.Assign{Job: j.id, First: *next, Count: rapid.Uint32Range(1, 60).Draw(rt, "count"), Session: 1})
			}
			m.settle()
			if wrong := m.CheckInvariants(); len(wrong) > 0 {
				rt.Fatal(wrong)
			}
		}
		count := uint32(0)
		for r := range j.ahead() {
			count += r.Count
			m.assign(&logpb.Assign{Job: j.id, First: r.First, Count: r.Count, Session: 1})
		}
		m.settle()
		if wrong := m.CheckInvariants(); len(wrong) > 0 {
			rt.Fatal(wrong)
		}
		if left := j.counts[task.Pending]; left != 0 || j.aheadCount() != 0 || count > j.total {
			rt.Fatalf("%d tasks were never granted, %d ahead, %d shown", left, j.aheadCount(), count)
		}
	})
}

// CheckInvariants finds frontiers that are not where they should be.
func TestWrongFrontiersAreFound(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(j *job){
		"behind what was granted": func(j *job) { j.rare.runs[0].next = 102 },
		"beyond its run":          func(j *job) { j.next = 101 },
		"before its run":          func(j *job) { j.rare.runs[0].next = 99 },
		"beyond untouched tasks":  func(j *job) { j.next = 3 },
		"beyond the job":          func(j *job) { j.rare.runs[0].next = 301 },
		"out of order":            func(j *job) { j.split(50) },
		"far beyond":              func(j *job) { j.next = math.MaxUint32 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, j := submitted(t, &task.Spec{})
			j.split(100)
			m.assign(&logpb.Assign{Job: j.id, First: 100, Count: 5, Session: 1})
			m.settle()
			require.Empty(t, m.CheckInvariants())
			harm(j)
			require.NotEmpty(t, m.CheckInvariants())
		})
	}
}
