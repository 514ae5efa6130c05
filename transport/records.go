package transport

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// jobOf turns a record into what clients see.
func (s *Server) jobOf(r *logpb.JobRecord) (*rotav1.Job, error) {
	spec, err := s.node.State().Spec(r)
	if err != nil {
		return nil, err
	}
	c := func(s task.State) uint32 { return r.Counts[s] }
	job := &rotav1.Job{
		Id: r.Id, Spec: wire.SpecToProto(spec), State: wire.JobStateToProto(store.JobState(r)), Reason: rotav1.Reason(r.Reason),
		Tasks: &rotav1.TaskCounts{
			Total: r.Total, Blocked: c(task.Blocked), Scheduled: c(task.Scheduled), Pending: c(task.Pending), Assigned: c(task.Assigned),
			Stopping: c(task.Stopping), Succeeded: c(task.Succeeded), Failed: c(task.Failed), Cancelled: c(task.Cancelled),
			Retrying: r.Retrying,
		},
		SubmittedAt: stamp(r.SubmittedNs), StartedAt: stamp(r.StartedNs), FinishedAt: stamp(r.FinishedNs), RetryOf: r.RetryOf,
		RequestKey: r.Key, Open: r.Open, Cancelling: r.CancelReason != 0 && r.FinishedNs == 0, StartsAt: stamp(r.NotBeforeNs),
		Retried: wire.RangesToProto(spec.Retried),
	}
	return job, nil
}

// stamp is a moment, Unix ns; nil if it has not come.
func stamp(ns int64) *timestamppb.Timestamp {
	if ns == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(0, ns))
}

// groupOf turns results into what clients see.
func groupOf(s *logpb.Segment) *rotav1.ResultGroup {
	g := &rotav1.ResultGroup{
		State: rotav1.TaskState(s.State), Reason: rotav1.Reason(s.Reason), TokenOffset: s.TokenOffset, Granted: s.Granted,
		Attempt: s.Attempt, Worker: s.Worker, Error: s.Error, StderrTail: s.StderrTail, PackedOutputs: s.PackedOutputs, PackedUsage: s.PackedUsage,
		OutputMissing: s.OutputMissing, OutputHead: s.OutputHead, StderrMissing: s.StderrMissing,
		FinishedAt: stamp(s.FinishedNs), ExitCode: exitCodeOf(s.ExitCodePlusOne), Ranges: make([]*rotav1.IndexRange, len(s.Ranges)),
	}
	for i, r := range s.Ranges {
		g.Ranges[i] = &rotav1.IndexRange{First: r.First, Count: r.Count}
	}
	return g
}

// exitCodeOf: records keep the code plus one, so that 0 is none.
func exitCodeOf(plusOne int32) *int32 {
	if plusOne == 0 {
		return nil
	}
	code := plusOne - 1
	return &code
}

// rangesOf checks ranges that a worker names.
func rangesOf(ranges []*rotav1.IndexRange) ([]*logpb.Range, error) {
	out := make([]*logpb.Range, len(ranges))
	for i, r := range ranges {
		if !wire.RangeFromProto(r).Valid() {
			return nil, task.Errorf(task.KindInvalid, "index range %d+%d is out of range", r.GetFirst(), r.GetCount())
		}
		out[i] = &logpb.Range{First: r.First, Count: r.Count}
	}
	return out, nil
}
