package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

const (
	// waitPoll is how long one request of Wait waits at the server; it is below
	// what proxies tend to allow.
	waitPoll = 30 * time.Second
	// waitSlack is how much longer the client waits for its answer.
	waitSlack = 10 * time.Second
)

// Job is a handle on a job. It holds no resources and needs no closing.
type Job struct {
	c       *Client
	id      uint64
	existed bool
	// index is a log index behind which the job is known; 0: there is none.
	index uint64
	// over tells the submit that makes the job that it has ended: somebody has cancelled it. nil where
	// it was submitted as a whole.
	over chan struct{}
	// allInputs: results are to have their inputs, not only those of tasks that failed.
	allInputs bool
	// missing and startsAt is what the submit was told that made it.
	missing  []string
	startsAt time.Time
}

// Job returns a handle on the job with this id, without asking whether there is one.
func (c *Client) Job(id uint64) *Job { return &Job{c: c, id: id} }

// ID returns the job's id.
func (j *Job) ID() uint64 { return j.id }

// Existed says that Submit or Retry found an existing job under the request key. A request
// that is sent again because its first answer was lost finds its own job that way.
func (j *Job) Existed() bool { return j.existed }

// Missing is why no worker that was connected when the job was submitted can run its tasks; none: some can.
// Only of a Request with Explain.
func (j *Job) Missing() []string { return j.missing }

// StartsAt is the earliest start of its tasks; zero: at once. Only of a Request with Explain.
func (j *Job) StartsAt() time.Time { return j.startsAt }

// known is what a server must know before the client asks it for what no longer changes:
// that the job was made, if this client knows the index; else everything that is committed.
func (j *Job) known() *rotav1.ReadOptions {
	if j.index == 0 {
		return nil
	}
	return &rotav1.ReadOptions{Stale: true, MinIndex: j.index}
}

// op names an operation on the job, for error messages.
func (j *Job) op(what string) string { return fmt.Sprintf("%s job %d", what, j.id) }

// Info returns what the servers know of the job now.
func (j *Job) Info(ctx context.Context) (JobInfo, error) {
	resp, err := j.get(ctx, call{op: j.op("get"), safe: true}, &rotav1.GetJobRequest{JobId: j.id})
	if err != nil {
		return JobInfo{}, err
	}
	info, err := jobInfo(resp.GetJob())
	info.AppliedIndex, info.Stale = resp.GetAppliedIndex(), resp.GetStale()
	return info, err
}

// Task returns what the servers know of one task now.
func (j *Job) Task(ctx context.Context, index uint32) (TaskInfo, error) {
	op := call{op: fmt.Sprintf("get task %d.%d", j.id, index), safe: true}
	resp, err := j.get(ctx, op, &rotav1.GetJobRequest{JobId: j.id, TaskIndex: &index})
	if err != nil {
		return TaskInfo{}, err
	}
	if resp.GetTask() == nil {
		return TaskInfo{}, task.Errorf(task.KindNotFound, "there is no task %d.%d", j.id, index)
	}
	info, err := taskInfo(resp.GetTask())
	if p := resp.GetTask(); p.RetriedIndex != nil {
		info.RetryOf = task.ID{Job: resp.GetJob().GetRetryOf(), Index: p.GetRetriedIndex()}
	}
	return info, err
}

func (j *Job) get(ctx context.Context, op call, req *rotav1.GetJobRequest) (*rotav1.GetJobResponse, error) {
	return do(ctx, j.c, op, func(ctx context.Context, s *server) (*rotav1.GetJobResponse, error) {
		return s.jobs.GetJob(ctx, req)
	})
}

// Wait returns when every task of the job is final. Whether they succeeded is in
// the answer's State. When ctx ends before, the answer beside the error is the
// newest there was.
func (j *Job) Wait(ctx context.Context) (JobInfo, error) {
	var info JobInfo
	req := &rotav1.WaitJobRequest{JobId: j.id, Wait: durationpb.New(waitPoll), Read: j.known()}
	op := call{op: j.op("wait for"), safe: true, follow: true, timeout: waitPoll + waitSlack}
	for {
		resp, err := do(ctx, j.c, op, func(ctx context.Context, s *server) (*rotav1.WaitJobResponse, error) {
			return s.jobs.WaitJob(ctx, req)
		})
		if err != nil {
			return info, err
		}
		newest, err := jobInfo(resp.GetJob())
		if err != nil {
			return info, err
		}
		info = newest
		info.AppliedIndex = resp.GetAppliedIndex()
		if info.State.Final() {
			return info, nil
		}
	}
}

// Cancel cancels the job. Tasks that wait end at once. Workers stop the tasks that run,
// and Wait waits for that. It may be repeated.
func (j *Job) Cancel(ctx context.Context) (CancelInfo, error) {
	return j.cancel(ctx, j.op("cancel"), &rotav1.CancelJobRequest{JobId: j.id})
}

// CancelTask cancels one task.
func (j *Job) CancelTask(ctx context.Context, index uint32) (CancelInfo, error) {
	op := fmt.Sprintf("cancel task %d.%d", j.id, index)
	return j.cancel(ctx, op, &rotav1.CancelJobRequest{JobId: j.id, TaskIndex: &index})
}

func (j *Job) cancel(ctx context.Context, op string, req *rotav1.CancelJobRequest) (CancelInfo, error) {
	resp, err := do(ctx, j.c, call{op: op, mutation: true, safe: true}, func(ctx context.Context, s *server) (*rotav1.CancelJobResponse, error) {
		return s.jobs.CancelJob(ctx, req)
	})
	if err != nil {
		return CancelInfo{}, err
	}
	return CancelInfo{Cancelled: resp.GetCancelled(), Stopping: resp.GetStopping()}, nil
}

// RetryOptions is how a job is retried. The zero value retries what did not succeed.
type RetryOptions struct {
	// All retries the tasks that succeeded, too.
	All bool
	// Key is the request key; empty: a random one is made, so that the request may
	// be sent again when its answer is lost.
	Key string
	// NoKey: send none. A lost answer is then an unknown outcome.
	NoKey bool
}

// maxRetryRequests bounds the requests of a retry: several times as many as the most payloads take.
const maxRetryRequests = 1024

// Retry makes a new job of the tasks of a finished one. Many payloads are copied by several requests.
func (c *Client) Retry(ctx context.Context, id uint64, opts RetryOptions) (*Job, error) {
	key, err := requestKey(opts.Key, opts.NoKey)
	if err != nil {
		return nil, err
	}
	req := &rotav1.RetryJobRequest{JobId: id, All: opts.All, RequestKey: key}
	op := call{op: fmt.Sprintf("retry job %d", id), mutation: true, safe: key != ""}
	var job *Job
	for range maxRetryRequests {
		resp, err := do(ctx, c, op, func(ctx context.Context, s *server) (*rotav1.RetryJobResponse, error) {
			return s.jobs.RetryJob(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		if job == nil {
			job = &Job{c: c, id: resp.GetJobId(), existed: resp.GetExisted()}
		}
		if !resp.GetUnfinished() {
			return job, nil
		}
	}
	return nil, task.Errorf(task.KindInternal, "job %d, which retries job %d, is not complete after %d requests", job.id, id, maxRetryRequests)
}
