package transport

import (
	"context"

	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
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

// retryJob makes a new job of the tasks of a finished one, as the leader. Tasks that
// have no payloads of their own are told apart by their index only, so such a job is
// run again as a whole.
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
	tasks := &logpb.Tasks{Count: rec.Total}
	if rec.OwnPayloads {
		if tasks, err = s.retryTasks(rec, r.GetAll()); err != nil {
			return nil, err
		}
	} else if !r.GetAll() && rec.Counts[task.Succeeded] == rec.Total {
		tasks.Count = 0
	}
	if tasks.Count == 0 {
		return nil, task.Errorf(task.KindConflict, "every task of job %d succeeded: use --all to run them again", rec.Id)
	}
	op := &logpb.Submit{Spec: rec.Spec, Tasks: tasks, Key: r.GetRequestKey(), RetryOf: rec.Id}
	if op.Key != "" {
		op.Hash = requestHash(op)
	}
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: op}})
	if err != nil {
		return nil, err
	}
	return &rotav1.RetryJobResponse{JobId: res.Job, Existed: res.Existed, AppliedIndex: res.Index}, nil
}

// retryTasks gathers the payloads of the tasks that did not succeed, or of all.
func (s *Server) retryTasks(rec *logpb.JobRecord, all bool) (*logpb.Tasks, error) {
	out := &logpb.Tasks{}
	for i := uint32(0); i < rec.Total; {
		results, err := s.node.State().Ordered(rec.Id, i, int(rec.Total-i))
		if err != nil {
			return nil, err
		}
		if len(results) == 0 {
			return nil, task.Errorf(task.KindInternal, "task %d.%d of a finished job has no result", rec.Id, i)
		}
		packed, err := s.node.State().Payloads(rec.Id, i, uint32(len(results)))
		if err != nil {
			return nil, err
		}
		for _, res := range results {
			payload, rest, ok := task.PackNext(packed)
			if !ok {
				return nil, task.Errorf(task.KindInternal, "task %d.%d has no payload", rec.Id, res.Index)
			}
			packed = rest
			if all || res.Segment.State != uint32(task.Succeeded) {
				out.Packed = task.PackAppend(out.Packed, payload)
				out.Count++
			}
		}
		if len(out.Packed) > task.MaxRequest {
			return nil, task.Errorf(task.KindTooLarge, "the payloads to retry have more than %d bytes: submit them as a new job", task.MaxRequest)
		}
		i += uint32(len(results))
	}
	return out, nil
}
