package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rota-scheduler/rota/internal/ticks"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/ledger"
	"github.com/rota-scheduler/rota/task"
)

// serial submits serial jobs whose commands keep a ledger.
type serial struct {
	nothingOpen
	numbers
}

// longRounds is how long every tenth command works: longer than a new leader takes to give away the task of a worker
// that it does not hear.
const longRounds = "100"

func (q *serial) step(ctx context.Context, c *Client) {
	s := history.Submit{Key: q.key("serial"), Tasks: 3, Serial: true}
	env := []task.Pair{{Key: ledger.Env, Value: c.env.Ledger}}
	if c.Random.IntN(10) == 0 {
		s.Tasks, env = 1, append(env, task.Pair{Key: ledger.Rounds, Value: longRounds})
	}
	c.submit(ctx, s, task.Spec{Command: []string{"sh", "-c", ledger.Script}, Serial: true, MaxAttempts: 20, Env: env})
}

// cancels cancels jobs before, while and after they run.
type cancels struct {
	nothingOpen
	numbers
}

const (
	// Tasks run for up to longestRun, and are cancelled up to longestGrace after the submit.
	longestRun, longestGrace = 300 * time.Millisecond, 400 * time.Millisecond
)

func (q *cancels) step(ctx context.Context, c *Client) {
	s := history.Submit{Key: q.key("cancel"), Tasks: 1}
	run := time.Duration(c.Random.Int64N(int64(longestRun)))
	made, ok := c.submit(ctx, s, task.Spec{Handler: "rota.sleep", SharedPayload: []byte(run.String())})
	if !ok || !ticks.Sleep(ctx, time.Duration(c.Random.Int64N(int64(longestGrace)))) {
		return
	}
	_, ok = call(ctx, c, history.FCancel, history.Cancel{Job: made.Job}, func(ctx context.Context) (history.Cancelled, error) {
		info, err := c.sdk.Job(made.Job).Cancel(ctx)
		return history.Cancelled{Cancelled: info.Cancelled, Stopping: info.Stopping}, err
	})
	if !ok {
		return
	}
	call(ctx, c, history.FTask, history.Task{Job: made.Job}, func(ctx context.Context) (history.TaskRead, error) {
		info, err := c.sdk.Job(made.Job).Task(ctx, 0)
		return history.TaskRead{Job: made.Job, Index: info.Index, State: info.State.String(), Attempt: info.Attempt, Token: info.Token}, err
	})
}

// streams follows results, and breaks off to go on later.
type streams struct {
	nothingOpen
	numbers

	mu sync.Mutex
	// left is readers that broke off, for any client to go on with.
	left []reader
}

// reader is a stream that can go on.
type reader struct {
	name     string
	job      uint64
	received int
	cursor   []byte
}

const (
	// streamTasks is how many results a job has; a reader breaks off after up to streamPart.
	streamTasks, streamPart = 30, 12
	// maxLeft bounds the readers that wait to go on.
	maxLeft = 50
)

func (q *streams) step(ctx context.Context, c *Client) {
	r, ok := q.take(c)
	if !ok {
		s := history.Submit{Key: q.key("stream"), Tasks: streamTasks}
		made, ok := c.submit(ctx, s, task.Spec{Handler: "rota.sleep", SharedPayload: []byte("20ms")})
		if !ok {
			return
		}
		r = reader{name: s.Key, job: made.Job}
	}
	for range 2 {
		var complete bool
		if r, complete = c.follow(ctx, r); complete {
			return
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.left) < maxLeft {
		q.left = append(q.left, r)
	}
}

// take returns a reader that broke off, or none.
func (q *streams) take(c *Client) (reader, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.left) == 0 || c.Random.IntN(2) == 0 {
		return reader{}, false
	}
	at := c.Random.IntN(len(q.left))
	r := q.left[at]
	q.left = append(q.left[:at], q.left[at+1:]...)
	return r, true
}

// errBrokenOff ends a stream that has had enough.
var errBrokenOff = errors.New("the reader broke off")

// follow reads a part of a stream. Whatever ends it, what came counts.
func (c *Client) follow(ctx context.Context, r reader) (reader, bool) {
	most := 1 + c.Random.IntN(streamPart)
	start := history.StreamStart{Stream: r.name, Job: r.job, Received: r.received}
	out, _ := call(ctx, c, history.FStream, start, func(ctx context.Context) (history.Streamed, error) {
		s := history.Streamed{Stream: r.name, Job: r.job}
		for res, err := range c.sdk.Job(r.job).AsCompletedFrom(ctx, r.cursor) {
			if err != nil {
				return s, err
			}
			s.Outcomes = append(s.Outcomes, OutcomeOf(&res))
			r.cursor = res.Cursor()
			if len(s.Outcomes) == most {
				return s, fmt.Errorf("%w after %d results", errBrokenOff, most)
			}
		}
		s.Complete = true
		return s, nil
	})
	r.received += len(out.Outcomes)
	return r, out.Complete
}
