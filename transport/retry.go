package transport

import (
	"context"
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

// retryJob makes a new job of the tasks of a finished one, as the leader: each with its
// own payload, or, where the payload is shared, with its own value.
func (s *Server) retryJob(ctx context.Context, r *rotav1.RetryJobRequest) (*rotav1.RetryJobResponse, error) {
	if err := task.ValidKey(r.GetRequestKey()); err != nil {
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
	op := &logpb.Submit{Key: r.GetRequestKey(), RetryOf: rec.Id}
	old, err := s.node.State().Spec(rec)
	if err != nil {
		return nil, err
	}
	spec := *old
	chosen, err := s.retried(rec, r.GetAll())
	if err != nil {
		return nil, err
	}
	if len(chosen) == 0 {
		return nil, task.Errorf(task.KindConflict, "every task of job %d succeeded: use --all to run them again", rec.Id)
	}
	if op.Tasks, err = s.retriedPayloads(rec, chosen); err != nil {
		return nil, err
	}
	// The start time of the first run says nothing about this one.
	spec.Delay, spec.NotBefore = 0, 0
	spec.Values = retriedValues(spec.Values, chosen)
	spec.Retried = make([]task.IndexRun, len(chosen))
	for i, r := range chosen {
		spec.Retried[i] = task.IndexRun(r)
	}
	if err := spec.Validate(); err != nil {
		return nil, fmt.Errorf("%w; use --all", err)
	}
	if op.Spec, err = fsm.EncodeSpec(&spec); err != nil {
		return nil, err
	}
	if op.Key != "" {
		op.Hash = requestHash(op)
	}
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: op}})
	if err != nil {
		return nil, err
	}
	return &rotav1.RetryJobResponse{JobId: res.Job, Existed: res.Existed, AppliedIndex: res.Index}, nil
}

// retried returns the tasks that are to run again, as ranges of indexes.
func (s *Server) retried(rec *logpb.JobRecord, all bool) ([]fsm.Range, error) {
	if all {
		return []fsm.Range{{First: 0, Count: rec.Total}}, nil
	}
	var out []fsm.Range
	for i := uint32(0); i < rec.Total; {
		results, err := s.node.State().Ordered(rec.Id, i, fsm.PageTasks)
		if err != nil {
			return nil, err
		}
		if len(results) == 0 {
			return nil, task.Errorf(task.KindInternal, "task %d.%d of a finished job has no result", rec.Id, i)
		}
		for _, res := range results {
			if res.Segment.State == uint32(task.Succeeded) {
				continue
			}
			if n := len(out); n > 0 && out[n-1].First+out[n-1].Count == res.Index {
				out[n-1].Count++
			} else {
				out = append(out, fsm.Range{First: res.Index, Count: 1})
			}
		}
		i += uint32(len(results))
	}
	return out, nil
}

// retryStep is how many payloads are fetched at once, 4 MiB at most.
const retryStep = task.MaxRequest / task.MaxPayload

// retriedPayloads gathers the chosen tasks with the payloads that are their own.
func (s *Server) retriedPayloads(rec *logpb.JobRecord, chosen []fsm.Range) (*logpb.Tasks, error) {
	out := &logpb.Tasks{}
	for _, r := range chosen {
		out.Count += r.Count
		if !rec.OwnPayloads {
			continue
		}
		// Of large payloads a few at a time: a page of the largest has 64 MiB.
		for i, n := r.First, uint32(retryStep); i < r.First+r.Count; i += n {
			n = min(n, r.First+r.Count-i)
			packed, err := s.node.State().Payloads(rec.Id, i, n)
			if err != nil {
				return nil, err
			}
			if out.Packed = append(out.Packed, packed...); len(out.Packed) > task.MaxRequest {
				return nil, task.Errorf(task.KindTooLarge, "the payloads to retry have more than %d bytes: submit them as a new job", task.MaxRequest)
			}
		}
	}
	return out, nil
}

// retriedValues returns the values that the chosen tasks had. None are needed where
// every value was its index and still is.
func retriedValues(values []task.ValueRun, chosen []fsm.Range) []task.ValueRun {
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
			from, to := max(r.First, begin), min(r.First+r.Count, begin+v.Count)
			if from < to {
				out = append(out, task.ValueRun{First: v.First + (from-begin)*v.Step, Step: v.Step, Count: to - from})
			}
			begin += v.Count
		}
	}
	return out
}
