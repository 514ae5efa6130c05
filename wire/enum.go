package wire

import (
	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// The numbers of the enums in package task are those of their messages: both are
// fixed for good, and a test keeps them equal. So a translation is a cast and a
// check of its range.

// StateToProto translates the state of a task.
func StateToProto(s task.State) rotav1.TaskState { return rotav1.TaskState(s) }

// StateFromProto translates the state of a task and refuses unknown ones.
func StateFromProto(p rotav1.TaskState) (task.State, error) {
	if p <= 0 || p >= task.NumStates {
		return 0, unknownEnum("task state", int32(p))
	}
	return task.State(p), nil
}

// ReasonToProto translates a reason.
func ReasonToProto(r task.Reason) rotav1.Reason { return rotav1.Reason(r) }

// ReasonFromProto translates a reason, none among them, and refuses unknown ones.
func ReasonFromProto(p rotav1.Reason) (task.Reason, error) {
	if p < 0 || p > 0xff || !task.Reason(p).Valid() {
		return 0, unknownEnum("reason", int32(p))
	}
	return task.Reason(p), nil
}

// JobStateToProto translates the state of a job.
func JobStateToProto(s task.JobState) rotav1.JobState { return rotav1.JobState(s) }

// JobStateFromProto translates the state of a job and refuses unknown ones.
func JobStateFromProto(p rotav1.JobState) (task.JobState, error) {
	if p < rotav1.JobState(task.JobPending) || p > rotav1.JobState(task.JobCancelled) {
		return 0, unknownEnum("job state", int32(p))
	}
	return task.JobState(p), nil
}

// OutcomeToProto translates the outcome of an attempt.
func OutcomeToProto(o task.Outcome) rotav1.Outcome { return rotav1.Outcome(o) }

// OutcomeFromProto translates the outcome of an attempt and refuses unknown ones.
func OutcomeFromProto(p rotav1.Outcome) (task.Outcome, error) {
	if p < 0 || p > 0xff || !task.Outcome(p).Valid() {
		return 0, unknownEnum("outcome", int32(p))
	}
	return task.Outcome(p), nil
}

// PolicyToProto translates a policy; 0, none given, is unspecified.
func PolicyToProto(p task.Policy) rotav1.Policy { return rotav1.Policy(p) }

// PolicyFromProto translates a policy, 0 for unspecified, and refuses unknown ones.
func PolicyFromProto(p rotav1.Policy) (task.Policy, error) {
	if p < 0 || p > rotav1.Policy(task.Random) {
		return 0, unknownEnum("allocation policy", int32(p))
	}
	return task.Policy(p), nil
}

// StdoutToProto translates what becomes of a standard output; 0, the ends are kept, is unspecified.
func StdoutToProto(s task.Stdout) rotav1.Stdout { return rotav1.Stdout(s) }

// StdoutFromProto translates what becomes of a standard output, and refuses what is unknown.
func StdoutFromProto(p rotav1.Stdout) (task.Stdout, error) {
	if p < 0 || p > 0xff || !task.Stdout(p).Valid() {
		return 0, unknownEnum("kind of standard output", int32(p))
	}
	return task.Stdout(p), nil
}

// EventKindFromProto translates the kind of an event, and refuses what is unknown.
func EventKindFromProto(p rotav1.EventKind) (task.EventKind, error) {
	if p <= 0 || p > rotav1.EventKind(task.EventLost) {
		return 0, unknownEnum("kind of event", int32(p))
	}
	return task.EventKind(p), nil
}

func unknownEnum(what string, n int32) error {
	return task.Errorf(task.KindInvalid, "unknown %s %d: the sender is newer than this program, or broken", what, n)
}
