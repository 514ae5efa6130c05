package transport

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
)

// RetryJob implements the job service.
func (s *Server) RetryJob(ctx context.Context, r *rotav1.RetryJobRequest) (*rotav1.RetryJobResponse, error) {
	return atLeader(ctx, s, r, s.retryJob,
		func(c grpc.ClientConnInterface, ctx context.Context, r *rotav1.RetryJobRequest) (*rotav1.RetryJobResponse, error) {
			return rotav1.NewJobServiceClient(c).RetryJob(ctx, r)
		})
}

// retryJob makes a new job of tasks of a finished one, as the leader. Each task keeps its payload or, if they share one,
// its value.
func (s *Server) retryJob(ctx context.Context, r *rotav1.RetryJobRequest) (*rotav1.RetryJobResponse, error) {
	if err := s.rules().ValidKey(r.GetRequestKey()); err != nil {
		return nil, err
	}
	if err := s.node.Barrier(ctx); err != nil {
		return nil, err
	}
	rec, err := s.node.State().Job(r.GetJobId())
	if err != nil {
		return nil, err
	}
	if !store.JobState(rec).Final() {
		return nil, task.Errorf(task.KindConflict, "job %d has not ended: cancel it first, or wait for it", rec.Id)
	}
	return s.retryOf(ctx, rec, r)
}

// retryOf makes the new job.
func (s *Server) retryOf(ctx context.Context, rec *logpb.JobRecord, r *rotav1.RetryJobRequest) (*rotav1.RetryJobResponse, error) {
	chosen, err := s.chosenBefore(rec, r)
	if err == nil && chosen == nil {
		chosen, err = s.retried(ctx, rec, r.GetAll())
	}
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		return nil, task.Errorf(task.KindConflict, "every task of job %d succeeded: use --all to run them again", rec.Id)
	}
	op := &logpb.Submit{Key: r.GetRequestKey(), RetryOf: rec.Id, Tasks: &logpb.Tasks{Count: countOf(chosen)}}
	if op.Spec, err = s.retriedSpec(rec, chosen); err != nil {
		return nil, err
	}
	if rec.OwnPayloads {
		payloads := &payloadReader{state: s.node.State(), job: rec.Id, left: chosen}
		tasks, err := payloads.next(ctx, task.MaxRequest)
		if err != nil {
			return nil, err
		}
		if tasks.Count < op.Tasks.Count {
			return s.growRetry(ctx, rec, op, chosen)
		}
		op.Tasks = tasks
	}
	if op.Key != "" {
		op.Hash = requestHash(op, op.Spec)
	}
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: op}})
	if err != nil {
		return nil, err
	}
	return &rotav1.RetryJobResponse{JobId: res.Job, Existed: res.Existed, AppliedIndex: res.Index}, nil
}

// retriedSpec is the spec of a job that runs the chosen tasks of another again.
func (s *Server) retriedSpec(rec *logpb.JobRecord, chosen []task.Range) ([]byte, error) {
	old, err := s.node.State().Spec(rec)
	if err != nil {
		return nil, err
	}
	spec := *old
	// The start time of the first run says nothing about this one.
	spec.Delay, spec.NotBefore = 0, 0
	spec.Values = retriedValues(spec.Values, chosen)
	spec.Retried = chosen
	if err := s.rules().Validate(&spec); err != nil {
		return nil, fmt.Errorf("%w; use --all", err)
	}
	return fsm.EncodeSpec(&spec)
}

func countOf(ranges []task.Range) (n uint32) {
	for _, r := range ranges {
		n += r.Count
	}
	return n
}

// chosenBefore returns the tasks that the job under the request's key runs again; nil: there is no such job, or it runs
// others. A retry of many payloads takes many requests, and with this each of them need not read all results.
func (s *Server) chosenBefore(rec *logpb.JobRecord, r *rotav1.RetryJobRequest) ([]task.Range, error) {
	if r.GetRequestKey() == "" {
		return nil, nil
	}
	state := s.node.State()
	old, err := state.Spec(rec)
	if err != nil {
		return nil, err
	}
	id, _, exists := state.Machine().KeyJob(old.Queue, r.GetRequestKey())
	if !exists {
		return nil, nil
	}
	made, err := state.Job(id)
	if err == nil && made.RetryOf != rec.Id {
		return nil, nil
	}
	var spec *task.Spec
	if err == nil {
		spec, err = state.Spec(made)
	}
	switch {
	case errors.Is(err, task.ErrNotFound):
		return nil, nil // its retention is over
	case err != nil:
		return nil, err
	}
	want := rec.Total
	if !r.GetAll() {
		want -= rec.Counts[task.Succeeded]
	}
	if countOf(spec.Retried) != want {
		return nil, nil
	}
	return spec.Retried, nil
}

// retried returns the tasks that are to run again, as ranges of indexes. It reads the results in the order in which they
// came, each once: in the order of their tasks, neighbours may be far apart in the file.
func (s *Server) retried(ctx context.Context, rec *logpb.JobRecord, all bool) ([]task.Range, error) {
	succeeded := rec.Counts[task.Succeeded]
	switch {
	case all || succeeded == 0:
		return []task.Range{{First: 0, Count: rec.Total}}, nil
	case succeeded == rec.Total:
		return nil, nil
	}
	done := newIndexSet(rec.Total)
	for cursor := uint32(0); cursor < rec.Received; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		segments, err := s.node.State().Segments(rec.Id, cursor, resultBytes)
		if err != nil {
			return nil, err
		}
		if len(segments) == 0 {
			return nil, task.Errorf(task.KindInternal, "job %d has ended, and has no result at cursor %d", rec.Id, cursor)
		}
		for _, seg := range segments {
			if cursor = seg.First + seg.Count; seg.Segment.State != uint32(task.Succeeded) {
				continue
			}
			for _, r := range seg.Segment.Ranges {
				done.add(r.First, r.Count)
			}
		}
	}
	out := done.missing(task.MaxValueRuns)
	if len(out) > task.MaxValueRuns {
		return nil, task.Errorf(task.KindTooLarge, "the %d tasks that did not succeed lie in more than %d places among the others, the limit: use --all, or submit them as a new job",
			rec.Total-succeeded, task.MaxValueRuns)
	}
	return out, nil
}

// retriedValues returns the values that the chosen tasks had; none if the value of each task was its index and still is.
func retriedValues(values []task.ValueRun, chosen []task.Range) []task.ValueRun {
	if len(values) == 0 {
		if len(chosen) == 1 && chosen[0].First == 0 {
			return nil
		}
		values = []task.ValueRun{{First: 0, Step: 1, Count: task.MaxTasks}}
	}
	var out []task.ValueRun
	for _, r := range chosen {
		begin := uint32(0)
		for _, v := range values {
			from, to := max(r.First, begin), min(r.End(), begin+v.Count)
			if from < to {
				out = append(out, task.ValueRun{First: v.First + (from-begin)*v.Step, Step: v.Step, Count: to - from})
			}
			begin += v.Count
		}
	}
	return out
}
