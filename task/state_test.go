package task_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// legal is every change of state that a task may make, as a reader would say it.
var legal = map[task.State][]task.State{
	task.Blocked:   {task.Pending, task.Scheduled, task.Cancelled, task.Failed},
	task.Scheduled: {task.Assigned, task.Pending, task.Cancelled},
	task.Pending:   {task.Assigned, task.Cancelled},
	task.Assigned:  {task.Succeeded, task.Failed, task.Scheduled, task.Pending, task.Stopping, task.Cancelled},
	task.Stopping:  {task.Cancelled, task.Failed, task.Scheduled},
}

func TestTransitionsAreTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	for from := range task.State(math.MaxUint8) {
		for to := range task.State(math.MaxUint8) {
			want := false
			for _, s := range legal[from] {
				want = want || s == to
			}
			require.Equal(t, want, task.Legal(from, to), "%v to %v", from, to)
		}
	}
}

func TestNoOutcomeIsLeft(t *testing.T) {
	t.Parallel()
	for from := range task.State(task.NumStates) {
		require.Equal(t, from == task.Succeeded || from == task.Failed || from == task.Cancelled, from.Final())
		require.Equal(t, from == task.Assigned || from == task.Stopping, from.Held())
		for to := range task.State(task.NumStates) {
			require.False(t, from.Final() && task.Legal(from, to), "%v to %v", from, to)
		}
	}
}

func TestNamesOfStatesAreStable(t *testing.T) {
	t.Parallel()
	for s, name := range map[interface{ String() string }]string{
		task.Blocked: "blocked", task.Scheduled: "scheduled", task.Pending: "pending", task.Assigned: "assigned", task.Stopping: "stopping",
		task.Succeeded: "succeeded", task.Failed: "failed", task.Cancelled: "cancelled", task.State(200): "state(200)",
		task.NoReason: "", task.ReasonWorkerLost: "worker-lost", task.ReasonAbandoned: "abandoned", task.Reason(200): "reason(200)",
		task.JobPending: "pending", task.JobCancelled: "cancelled", task.JobState(200): "job-state(200)",
	} {
		require.Equal(t, name, s.String())
	}
	for s := task.JobPending; s <= task.JobCancelled; s++ {
		parsed, ok := task.ParseJobState(s.String())
		require.True(t, ok)
		require.Equal(t, s, parsed)
	}
	_, ok := task.ParseJobState("unknown")
	require.False(t, ok)
}

func TestReasonsAndOutcomesAreValidOnlyWhereTheyAreKnown(t *testing.T) {
	t.Parallel()
	for n := range math.MaxUint8 + 1 {
		require.Equal(t, n <= 8, task.Reason(n).Valid())
		require.Equal(t, n >= 1 && n <= 5, task.Outcome(n).Valid())
	}
}

func TestJobStateFollowsFromItsTasks(t *testing.T) {
	t.Parallel()
	counts := func(pairs ...any) (c task.Counts) {
		for i := 0; i < len(pairs); i += 2 {
			c[pairs[i].(task.State)] = uint32(pairs[i+1].(int))
		}
		return c
	}
	for _, tt := range []struct {
		name    string
		counts  task.Counts
		total   uint32
		open    bool
		started bool
		want    task.JobState
	}{
		{"nothing granted yet", counts(task.Pending, 2), 2, false, false, task.JobPending},
		{"granted and returned", counts(task.Pending, 2), 2, false, true, task.JobRunning},
		{"one left", counts(task.Succeeded, 1, task.Assigned, 1), 2, false, true, task.JobRunning},
		{"all succeeded", counts(task.Succeeded, 2), 2, false, true, task.JobSucceeded},
		{"all succeeded, more may come", counts(task.Succeeded, 2), 2, true, true, task.JobRunning},
		{"open and empty", counts(), 0, true, false, task.JobPending},
		{"a failure weighs more than a cancel", counts(task.Failed, 1, task.Cancelled, 1), 2, false, true, task.JobFailed},
		{"cancelled", counts(task.Succeeded, 1, task.Cancelled, 1), 2, false, true, task.JobCancelled},
		{"cancelled before it had tasks", counts(), 0, false, false, task.JobCancelled},
	} {
		require.Equal(t, tt.want, tt.counts.JobState(tt.total, tt.open, tt.started), tt.name)
	}
}
