package transport

import (
	"context"
	"errors"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/task"
)

// If a job is retried with more payloads than fit into a request, the new job is made as clients make such jobs: it is
// submitted open, grows by appends, and is closed. It is held until it is closed, so that no task of an abandoned retry
// runs. It has a request key, and payloads that are appended already are not appended again. So each request copies for
// a while, and the client sends it again, to the same leader or to the next one, until all is copied.

const (
	// copiedAtOnce is how much one append copies, bytes: about one log entry, as with clients.
	copiedAtOnce = 192 << 10
	// copiedByRequest is how much one request copies, bytes: some forty entries, which take a fraction of a second.
	copiedByRequest = 8 << 20
	// maxRetried is how many bytes of payloads the tasks to retry may have in all.
	maxRetried = 1 << 30
)

// growRetry makes the job of op from payloads that are too many for one request, or goes on with it.
func (s *Server) growRetry(ctx context.Context, rec *logpb.JobRecord, op *logpb.Submit, chosen []task.Range) (*rotav1.RetryJobResponse, error) {
	if op.Key == "" {
		return nil, task.Errorf(task.KindInvalid, "the payloads to retry have more than %d bytes: they are copied in several steps, which needs a request key", task.MaxRequest)
	}
	spec, err := fsm.DecodeSpecHead(op.Spec)
	if err != nil {
		return nil, err
	}
	total := op.Tasks.Count
	if _, _, exists := s.node.State().Machine().KeyJob(spec.Queue, op.Key); !exists {
		if err := checkRetried(ctx, s.node.State(), rec.Id, chosen, maxRetried); err != nil {
			return nil, err
		}
	}
	op.Tasks, op.Open, op.Hold = &logpb.Tasks{}, true, true
	op.Hash = requestHash(op, op.Spec)
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: op}})
	if err != nil {
		return nil, err
	}
	resp := &rotav1.RetryJobResponse{JobId: res.Job, Existed: res.Existed, AppliedIndex: res.Index}
	made, err := s.node.State().Job(res.Job)
	switch {
	case res.Existed && errors.Is(err, task.ErrNotFound):
		return resp, nil // its retention is over
	case err != nil:
		return nil, err
	case made.CancelReason != 0 && made.Total < total:
		return nil, task.Errorf(task.KindConflict, "job %d, which was to retry job %d under this request key, was cancelled (%v) before it was complete: use a new key", made.Id, rec.Id, task.Reason(made.CancelReason))
	case !made.Open:
		return resp, nil
	}
	payloads := &payloadReader{state: s.node.State(), job: rec.Id, left: chosen}
	payloads.skip(made.Total)
	return resp, s.copyPayloads(ctx, resp, payloads, made.Total, total)
}

// copyPayloads appends tasks, from index next on, to the job of an answer. It closes the job when it has total tasks;
// otherwise it says in the answer that there is more to do.
func (s *Server) copyPayloads(ctx context.Context, resp *rotav1.RetryJobResponse, payloads *payloadReader, next, total uint32) error {
	for copied := 0; next < total; {
		if copied >= copiedByRequest {
			resp.Unfinished = true
			return nil
		}
		tasks, err := payloads.next(ctx, copiedAtOnce)
		if err != nil {
			return err
		}
		res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_AppendTasks{AppendTasks: &logpb.AppendTasks{Job: resp.JobId, FirstIndex: next, Tasks: tasks}}})
		if err != nil {
			return err
		}
		resp.AppliedIndex = res.Index
		next, copied = next+tasks.Count, copied+len(tasks.Packed)
	}
	res, err := s.node.Propose(ctx, &logpb.Op{Op: &logpb.Op_CloseTasks{CloseTasks: &logpb.CloseTasks{Job: resp.JobId, Total: total}}})
	if err == nil {
		resp.AppliedIndex = res.Index
	}
	return err
}

// checkRetried says whether the payloads of the chosen tasks have more than limit bytes, before anything is made.
func checkRetried(ctx context.Context, state *store.State, job uint64, chosen []task.Range, limit int) error {
	payloads := &payloadReader{state: state, job: job, left: chosen}
	for size := 0; ; {
		tasks, err := payloads.next(ctx, copiedAtOnce)
		if err != nil || tasks.Count == 0 {
			return err
		}
		if size += len(tasks.Packed); size > limit {
			return task.Errorf(task.KindTooLarge, "the payloads to retry have more than %d bytes, the limit: submit them as several new jobs", limit)
		}
	}
}

// payloadReader reads the payloads of chosen tasks of a job, in their order.
type payloadReader struct {
	state *store.State
	job   uint64
	// left is the tasks that are not read yet, without the first taken ones of its first range.
	left  []task.Range
	taken uint32
	// packed is the payloads of count tasks that are read and not returned yet.
	packed []byte
	count  uint32
	// perTask is about the size of a payload, bytes; 0: none is read yet.
	perTask int
}

// skip leaves out the first n of the tasks that are not read yet.
func (r *payloadReader) skip(n uint32) {
	for n > 0 && len(r.left) > 0 {
		take := min(n, r.left[0].Count-r.taken)
		r.take(take)
		n -= take
	}
}

// take takes the next n tasks off the first range. It does not change the ranges, which belong to the caller.
func (r *payloadReader) take(n uint32) {
	if r.taken += n; r.taken == r.left[0].Count {
		r.left, r.taken = r.left[1:], 0
	}
}

// next returns the next tasks: up to limit bytes of payloads, but at least one task; none if there are no more. Where one
// append ends depends only on the payloads from the first task on, so that a repeated append is the same.
func (r *payloadReader) next(ctx context.Context, limit int) (*logpb.Tasks, error) {
	out := &logpb.Tasks{}
	for {
		if r.count == 0 {
			if more, err := r.read(ctx); err != nil || !more {
				return out, err
			}
		}
		_, rest, ok := task.PackNext(r.packed)
		if !ok {
			return nil, task.Errorf(task.KindInternal, "the payloads of job %d are cut short", r.job)
		}
		size := len(r.packed) - len(rest)
		if out.Count > 0 && len(out.Packed)+size > limit {
			return out, nil
		}
		out.Packed = append(out.Packed, r.packed[:size]...)
		out.Count++
		r.packed, r.count = rest, r.count-1
	}
}

// retryStep is how many of the largest payloads are read at once: 4 MiB.
const retryStep = task.MaxRequest / task.MaxPayload

// read reads some payloads, only a few at a time if they are large: a page of the largest has 64 MiB.
func (r *payloadReader) read(ctx context.Context) (more bool, err error) {
	if len(r.left) == 0 {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	first, n := r.left[0].First+r.taken, uint32(retryStep)
	if r.perTask > 0 {
		n = max(n, min(fsm.PageTasks, uint32(copiedAtOnce/r.perTask)))
	}
	n = min(n, r.left[0].Count-r.taken, fsm.PageTasks-first%fsm.PageTasks)
	if r.packed, err = r.state.Payloads(r.job, first, n); err != nil {
		return false, err
	}
	r.count, r.perTask = n, len(r.packed)/int(n)
	r.take(n)
	return true, nil
}
