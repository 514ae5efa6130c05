package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// The numbers of both sides are the same, which is what makes a translation a cast.
func TestEnumNumbersAreEqual(t *testing.T) {
	t.Parallel()
	for want, got := range map[task.State]rotav1.TaskState{
		task.Blocked: rotav1.TaskState_TASK_STATE_BLOCKED, task.Scheduled: rotav1.TaskState_TASK_STATE_SCHEDULED,
		task.Pending: rotav1.TaskState_TASK_STATE_PENDING, task.Assigned: rotav1.TaskState_TASK_STATE_ASSIGNED,
		task.Stopping: rotav1.TaskState_TASK_STATE_STOPPING, task.Succeeded: rotav1.TaskState_TASK_STATE_SUCCEEDED,
		task.Failed: rotav1.TaskState_TASK_STATE_FAILED, task.Cancelled: rotav1.TaskState_TASK_STATE_CANCELLED,
	} {
		require.Equal(t, got, wire.StateToProto(want))
		back, err := wire.StateFromProto(got)
		require.NoError(t, err)
		require.Equal(t, want, back)
	}
	require.Len(t, rotav1.TaskState_name, task.NumStates)

	for want, got := range map[task.Reason]rotav1.Reason{
		task.NoReason: rotav1.Reason_REASON_UNSPECIFIED, task.ReasonError: rotav1.Reason_REASON_ERROR,
		task.ReasonExitCode: rotav1.Reason_REASON_EXIT_CODE, task.ReasonTimeout: rotav1.Reason_REASON_TIMEOUT,
		task.ReasonWorkerLost: rotav1.Reason_REASON_WORKER_LOST, task.ReasonExpired: rotav1.Reason_REASON_EXPIRED,
		task.ReasonDependency: rotav1.Reason_REASON_DEPENDENCY, task.ReasonUser: rotav1.Reason_REASON_USER,
		task.ReasonAbandoned: rotav1.Reason_REASON_ABANDONED,
	} {
		require.Equal(t, got, wire.ReasonToProto(want))
		back, err := wire.ReasonFromProto(got)
		require.NoError(t, err)
		require.Equal(t, want, back)
	}
	for n := range rotav1.Reason_name {
		require.True(t, task.Reason(n).Valid(), "reason %d", n)
	}

	for want, got := range map[task.JobState]rotav1.JobState{
		task.JobPending: rotav1.JobState_JOB_STATE_PENDING, task.JobRunning: rotav1.JobState_JOB_STATE_RUNNING,
		task.JobSucceeded: rotav1.JobState_JOB_STATE_SUCCEEDED, task.JobFailed: rotav1.JobState_JOB_STATE_FAILED,
		task.JobCancelled: rotav1.JobState_JOB_STATE_CANCELLED,
	} {
		require.Equal(t, got, wire.JobStateToProto(want))
		back, err := wire.JobStateFromProto(got)
		require.NoError(t, err)
		require.Equal(t, want, back)
	}

	require.Len(t, rotav1.EventKind_name, len(task.EventKinds())+3, "unspecified, more and lost are not asked for")
	for n := range rotav1.EventKind_name {
		kind, err := wire.EventKindFromProto(rotav1.EventKind(n))
		require.Equal(t, n != 0, err == nil)
		back, ok := task.ParseEventKind(kind.String())
		require.Equal(t, n != 0, ok, "%v", kind)
		require.Equal(t, kind, back)
	}

	for want, got := range map[task.Outcome]rotav1.Outcome{
		task.OutcomeSucceeded: rotav1.Outcome_OUTCOME_SUCCEEDED, task.OutcomeFailed: rotav1.Outcome_OUTCOME_FAILED,
		task.OutcomeReturned: rotav1.Outcome_OUTCOME_RETURNED, task.OutcomeStopped: rotav1.Outcome_OUTCOME_STOPPED,
		task.OutcomeLost: rotav1.Outcome_OUTCOME_LOST,
	} {
		require.Equal(t, got, wire.OutcomeToProto(want))
		back, err := wire.OutcomeFromProto(got)
		require.NoError(t, err)
		require.Equal(t, want, back)
	}

	require.Equal(t, rotav1.Policy_POLICY_LEAST_LOADED, wire.PolicyToProto(task.LeastLoaded))
	require.Equal(t, rotav1.Policy_POLICY_RANDOM, wire.PolicyToProto(task.Random))
}

func TestUnknownEnumNumbersAreRefused(t *testing.T) {
	t.Parallel()
	// 257 and 262 would be known numbers if a cast were all.
	for _, n := range []int32{-1, 77, 256, 257, 262} {
		_, err := wire.StateFromProto(rotav1.TaskState(n))
		require.ErrorIs(t, err, task.ErrInvalid)
		_, err = wire.ReasonFromProto(rotav1.Reason(n))
		require.ErrorIs(t, err, task.ErrInvalid)
		_, err = wire.JobStateFromProto(rotav1.JobState(n))
		require.ErrorIs(t, err, task.ErrInvalid)
		_, err = wire.OutcomeFromProto(rotav1.Outcome(n))
		require.ErrorIs(t, err, task.ErrInvalid)
		_, err = wire.PolicyFromProto(rotav1.Policy(n))
		require.ErrorIs(t, err, task.ErrInvalid)
	}
	_, err := wire.StateFromProto(0)
	require.ErrorIs(t, err, task.ErrInvalid)
}
