package wire_test

import (
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// pairs draws a map as sorted pairs, the form in which specs keep them.
func pairs(t *rapid.T, label string) []task.Pair {
	m := rapid.MapOfN(rapid.String(), rapid.String(), 0, 5).Draw(t, label)
	var out []task.Pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, task.Pair{Key: k, Value: m[k]})
	}
	return out
}

func drawSpec(t *rapid.T) task.Spec {
	duration := rapid.Map(rapid.Int64Range(0, int64(task.MaxDelay)), func(n int64) time.Duration { return time.Duration(n) })
	s := task.Spec{
		Name:        rapid.String().Draw(t, "name"),
		Queue:       rapid.String().Draw(t, "queue"),
		Policy:      rapid.SampledFrom([]task.Policy{0, task.LeastLoaded, task.Random}).Draw(t, "policy"),
		Serial:      rapid.Bool().Draw(t, "serial"),
		MaxParallel: rapid.Uint32().Draw(t, "max parallel"),
		Priority:    rapid.Int32().Draw(t, "priority"),
		MaxAttempts: rapid.Uint32().Draw(t, "attempts"),
		Timeout:     duration.Draw(t, "timeout"),
		Expire:      duration.Draw(t, "expire"),
		Retention:   duration.Draw(t, "retention"),
		Require:     pairs(t, "require"),
		Meta:        pairs(t, "meta"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "values") {
		s.Values = append(s.Values, task.ValueRun{First: rapid.Uint32().Draw(t, "first"), Step: rapid.Uint32().Draw(t, "step"), Count: rapid.Uint32().Draw(t, "count")})
	}
	if rapid.Bool().Draw(t, "moment") {
		s.NotBefore = rapid.Int64Range(1, math.MaxInt64-int64(2*time.Second)).Draw(t, "not before")
	} else {
		s.Delay = duration.Draw(t, "delay")
	}
	if payload := rapid.SliceOf(rapid.Byte()).Draw(t, "payload"); len(payload) > 0 {
		s.SharedPayload = payload
	}
	if rapid.Bool().Draw(t, "is handler") {
		s.Handler = rapid.StringN(1, 20, 80).Draw(t, "handler")
	} else {
		s.Command = rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "command")
		s.Env = pairs(t, "env")
		s.Cwd = rapid.String().Draw(t, "cwd")
		s.Placeholder = rapid.String().Draw(t, "placeholder")
		s.Stdout = rapid.SampledFrom([]task.Stdout{0, task.StdoutFull, task.StdoutDiscard, task.StdoutFile}).Draw(t, "stdout")
		s.StdoutPath = rapid.String().Draw(t, "stdout path")
	}
	return s
}

func TestSpecsSurviveTheWayOverTheWire(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawSpec(t)
		data, err := proto.Marshal(wire.SpecToProto(&want))
		require.NoError(t, err)
		var p rotav1.JobSpec
		require.NoError(t, proto.Unmarshal(data, &p))
		got, err := wire.SpecFromProto(&p)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestMalformedSpecsAreRefused(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]*rotav1.JobSpec{
		"no spec":             nil,
		"unknown policy":      {Policy: 99},
		"negative policy":     {Policy: -1},
		"unknown execution":   {Execution: 7},
		"unknown stdout":      {Work: &rotav1.JobSpec_Command{Command: &rotav1.CommandWork{Stdout: 4}}},
		"negative timeout":    {Timeout: durationpb.New(-1)},
		"overflowing delay":   {Delay: &durationpb.Duration{Seconds: math.MaxInt64 / 2}},
		"clamped delay":       {Delay: &durationpb.Duration{Seconds: 315_000_000_000}},
		"mixed signs":         {Expire: &durationpb.Duration{Seconds: 1, Nanos: -1}},
		"too long retention":  {Retention: durationpb.New(task.MaxDelay + 1)},
		"moment before 1970":  {NotBefore: &timestamppb.Timestamp{Seconds: -1}},
		"moment after 2262":   {NotBefore: &timestamppb.Timestamp{Seconds: 20_000_000_000}},
		"malformed timestamp": {NotBefore: &timestamppb.Timestamp{Nanos: -1}},
	} {
		_, err := wire.SpecFromProto(p)
		require.ErrorIs(t, err, task.ErrInvalid, name)
	}
}

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
