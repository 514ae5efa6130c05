package transport

import (
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// taskOf is what clients see of a task that they ask for: its state, its input, and how its attempts ended.
func (s *Server) taskOf(rec *logpb.JobRecord, i uint32) (*rotav1.Task, error) {
	if i >= rec.Total {
		return nil, task.Errorf(task.KindNotFound, "job %d has no task %d (tasks: %d, counted from 0)", rec.Id, i, rec.Total)
	}
	t, last, err := s.stateOf(rec.Id, i)
	if err != nil {
		return nil, err
	}
	kept, err := s.node.State().Attempts(rec.Id, i, t.Attempt)
	if err != nil {
		return nil, err
	}
	for _, a := range kept {
		t.Attempts = append(t.Attempts, attemptOf(a, i))
	}
	if last != nil {
		t.Attempts = append(t.Attempts, last)
	}
	return t, s.addOrigin(t, rec)
}

// stateOf is the state of a task, and the attempt that ended it if there is one.
func (s *Server) stateOf(job uint64, i uint32) (t *rotav1.Task, last *rotav1.TaskAttempt, err error) {
	if t, known := s.node.State().Machine().Task(job, i); known && !t.State.Final() {
		return &rotav1.Task{
			Index: i, State: wire.StateToProto(t.State), Reason: wire.ReasonToProto(t.Reason), Attempt: t.Attempt, Token: t.Token,
			Worker: t.Worker, NotBefore: stamp(t.NotBefore),
		}, nil, nil
	}
	res, err := s.node.State().Ordered(job, i, 1)
	if err != nil {
		return nil, nil, err
	}
	if len(res) == 0 {
		return nil, nil, task.Errorf(task.KindUnavailable, "task %d.%d is changing; try again", job, i)
	}
	seg := res[0].Segment
	t = &rotav1.Task{Index: i, State: rotav1.TaskState(seg.State), Reason: rotav1.Reason(seg.Reason), Attempt: seg.Attempt, Worker: seg.Worker}
	if !seg.Granted {
		return t, nil, nil
	}
	t.Token = uint64(int64(i) + seg.TokenOffset)
	last = &rotav1.TaskAttempt{
		Index: i, Attempt: seg.Attempt, State: t.State, Reason: t.Reason, ExitCode: exitCodeOf(seg.ExitCodePlusOne), Error: seg.Error,
		StderrTail: seg.StderrTail, StderrMissing: seg.StderrMissing, Worker: seg.Worker, Token: t.Token, EndedAt: stamp(seg.FinishedNs),
	}
	setUsage(last, res[0].Usage)
	return t, last, nil
}

// setUsage says what an attempt has used.
func setUsage(a *rotav1.TaskAttempt, encoded []byte) {
	if u := task.ParseUsage(encoded); u != (task.Usage{}) {
		a.PeakMemoryBytes, a.CpuTime = u.PeakMemory, durationpb.New(u.CPUTime)
	}
}

// attemptOf is what clients see of an attempt that did not end task i.
func attemptOf(a *logpb.Attempt, i uint32) *rotav1.TaskAttempt {
	out := &rotav1.TaskAttempt{
		Index: i, Attempt: a.Attempt, Reason: rotav1.Reason(a.Reason), ExitCode: exitCodeOf(a.ExitCodePlusOne), Error: a.Error,
		StderrTail: a.StderrTail, StderrMissing: a.StderrMissing, Worker: a.Worker, Token: uint64(int64(i) + a.TokenOffset), GrantedAt: stamp(a.GrantedNs), EndedAt: stamp(a.EndedNs),
	}
	if usage, ok := task.PackSkip(a.PackedUsage, int(i-a.First)); ok {
		used, _, _ := task.PackNext(usage)
		setUsage(out, used)
	}
	switch {
	case out.Error != "":
	case task.Outcome(a.Outcome) == task.OutcomeStopped:
		out.Error = "its worker was stopped, or had to give it up"
	case task.Outcome(a.Outcome) == task.OutcomeLost:
		out.Error = "its worker was lost"
	}
	return out
}

// lastFailure is an attempt that failed, of a job whose tasks are tried again: the newest of those with the highest
// number.
func (s *Server) lastFailure(rec *logpb.JobRecord) (*rotav1.TaskAttempt, error) {
	if rec.Retrying == 0 {
		return nil, nil
	}
	a, err := s.node.State().LastAttempt(rec.Id)
	if a == nil || err != nil {
		return nil, err
	}
	return attemptOf(a, a.First), nil
}

// addOrigin adds the input of a task, and its index in the job that its job retries.
func (s *Server) addOrigin(t *rotav1.Task, rec *logpb.JobRecord) error {
	spec, err := s.node.State().Spec(rec)
	if err != nil {
		return err
	}
	t.Value = spec.ValueAt(t.Index)
	if old, ok := spec.RetriedAt(t.Index); ok {
		t.RetriedIndex = &old
	}
	payload := spec.SharedPayload
	if rec.OwnPayloads {
		packed, err := s.node.State().Payloads(rec.Id, t.Index, 1)
		if err != nil {
			return err
		}
		payload, _, _ = task.PackNext(packed)
	}
	t.Input, _ = task.Input(payload)
	t.InputBytes = uint32(len(payload))
	return nil
}
