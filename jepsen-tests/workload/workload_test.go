package workload

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/task"
)

func TestOnlyWhatCertainlyDidNotHappenIsAFailure(t *testing.T) {
	t.Parallel()
	for kind, want := range map[task.Kind]history.Type{
		task.KindInvalid: history.Fail, task.KindConflict: history.Fail, task.KindUnavailable: history.Fail, task.KindExhausted: history.Fail,
		task.KindUnknownOutcome: history.Info, task.KindInternal: history.Info,
	} {
		require.Equal(t, want, outcome(task.Errorf(kind, "")), kind)
	}
	require.Equal(t, history.OK, outcome(nil))
	require.Equal(t, history.Info, outcome(errors.New("the connection broke")))
	timeout := &task.Error{Kind: task.KindUnavailable, Err: context.DeadlineExceeded}
	require.Equal(t, history.Info, outcome(fmt.Errorf("submit: %w", timeout)), "what ran out of time is never a failure")
}

func TestResultsThatEndedAlikeAreTakenApart(t *testing.T) {
	t.Parallel()
	out, err := groupOutcomes(&rotav1.ResultGroup{
		Ranges: []*rotav1.IndexRange{{First: 3, Count: 1}, {First: 0, Count: 2}}, State: rotav1.TaskState_TASK_STATE_SUCCEEDED,
		Granted: true, TokenOffset: 10, Attempt: 1, PackedOutputs: task.PackAppend(task.PackAppend(task.PackAppend(nil, []byte("c")), []byte{0}), nil),
	})
	require.NoError(t, err)
	require.Equal(t, []history.Outcome{
		{Index: 3, State: "succeeded", Attempt: 1, Token: 13, Output: "c"},
		{Index: 0, State: "succeeded", Attempt: 1, Token: 10, Output: `\x00`},
		{Index: 1, State: "succeeded", Attempt: 1, Token: 11},
	}, out)
	_, err = groupOutcomes(&rotav1.ResultGroup{
		Ranges: []*rotav1.IndexRange{{Count: 2}}, State: rotav1.TaskState_TASK_STATE_SUCCEEDED, PackedOutputs: task.PackAppend(nil, []byte("c")),
	})
	require.ErrorContains(t, err, "cut short")
}

func TestEveryWorkloadNamesChecksThatMustHaveSeenSomething(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		w, err := Get(name)
		require.NoError(t, err)
		require.Subset(t, w.Checked, common)
	}
	_, err := Get("none")
	require.ErrorContains(t, err, "queue")
}
