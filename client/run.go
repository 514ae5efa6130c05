package client

import (
	"context"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Run runs one task and returns its result: a job of its own, as durable as any. A task
// that failed is a Result like another, and no error. It is the call for many
// goroutines at once: all share one stream to the leader. When ctx ends, the job goes
// on.
func (c *Client) Run(ctx context.Context, spec task.Spec, payload []byte) (Result, error) {
	if err := checkSpec(spec); err != nil {
		return Result{}, err
	}
	key, err := requestKey("", false)
	if err != nil {
		return Result{}, err
	}
	req := &rotav1.SubmitRequest{Spec: wire.SpecToProto(&spec), RequestKey: key, Tasks: &rotav1.TaskSet{Count: 1}}
	if len(payload) > 0 {
		req.Tasks.PackedPayloads = task.PackAppend(nil, payload)
	}
	var followed <-chan []*rotav1.ResultGroup
	var reign context.Context
	op := call{op: "run a task", mutation: true, safe: true}
	resp, err := do(ctx, c, op, func(ctx context.Context, to *server) (resp *rotav1.SubmitResponse, err error) {
		_, reign = c.leader.get()
		resp, followed, err = to.submits.submit(ctx, req, true)
		return resp, err
	})
	if err != nil {
		return Result{}, err
	}
	job := &Job{c: c, id: resp.GetJobId(), index: resp.GetAppliedIndex()}
	select {
	case groups := <-followed:
		if groups != nil {
			return onlyResult(job, groups)
		}
	case <-reign.Done():
		// There is another leader. The one that answered may be paused or cut off: its
		// stream would be silent for a long time before it breaks.
	case <-ctx.Done():
	}
	// The stream broke after the answer, or time ran out, and the error says so.
	for r, err := range job.AsCompleted(ctx) {
		return r, err
	}
	return Result{}, malformed("job %d has no result", job.id)
}

// onlyResult is the result of a job of one task.
func onlyResult(j *Job, groups []*rotav1.ResultGroup) (out Result, err error) {
	r := &resultReader{at: position{job: j.id, order: rotav1.ResultOrder_RESULT_ORDER_COMPLETED}}
	count := 0
	err = r.deliver(&rotav1.StreamResultsResponse{Groups: groups, Cursor: []byte{1}}, func(res Result, _ error) bool {
		out, count = res, count+1
		return true
	})
	if err == nil && count != 1 {
		err = malformed("job %d has one task, but %d results came", j.id, count)
	}
	// There is nothing after it to go on with.
	out.message = nil
	return out, err
}
