package workload

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// submit submits a job by the SDK, which tries again until it knows, or by one request to
// one server.
func (c *Client) submit(ctx context.Context, s history.Submit, spec task.Spec) (history.Submitted, bool) {
	spec.Name, spec.Queue = s.Key, s.Queue
	bySDK := !s.Open && c.Random.IntN(2) == 0
	return call(ctx, c, history.FSubmit, s, func(ctx context.Context) (history.Submitted, error) {
		var out history.Submitted
		var err error
		if bySDK {
			var job *client.Job
			if job, err = c.sdk.Submit(ctx, client.Request{Spec: spec, Count: s.Tasks, Key: s.Key}); err == nil {
				out = history.Submitted{Job: job.ID(), Existed: job.Existed()}
			}
		} else {
			out, err = c.submitOnce(ctx, s, spec)
		}
		if isKind(err, task.KindConflict) {
			// An answer like another: the key is taken.
			return history.Submitted{Conflict: true}, nil
		}
		return out, err
	})
}

// submitOnce is one request to one server.
func (c *Client) submitOnce(ctx context.Context, s history.Submit, spec task.Spec) (history.Submitted, error) {
	resp, err := c.anyServer().Jobs.Submit(ctx, &rotav1.SubmitRequest{
		Spec: wire.SpecToProto(&spec), RequestKey: s.Key, Open: s.Open, Tasks: &rotav1.TaskSet{Count: uint32(s.Tasks)},
	})
	return history.Submitted{Job: resp.GetJobId(), Existed: resp.GetExisted()}, err
}

// numbers makes keys that nobody else uses.
type numbers struct{ next atomic.Int64 }

func (n *numbers) key(prefix string) string { return fmt.Sprintf("%s-%d", prefix, n.next.Add(1)) }

// queue submits jobs of a few tasks.
type queue struct {
	nothingOpen
	numbers
}

func (q *queue) step(ctx context.Context, c *Client) {
	s := history.Submit{Key: q.key("queue"), Tasks: 1 + c.Random.IntN(5)}
	c.submit(ctx, s, task.Spec{Handler: "rota.noop", SharedPayload: []byte(s.Key)})
}

// idempotent submits the same keys again and again.
type idempotent struct {
	nothingOpen
	numbers
}

const (
	// Each key is used by about so many submits, and one of so many has another content.
	keyUses, otherContent = 6, 6
)

func (i *idempotent) step(ctx context.Context, c *Client) {
	number := i.next.Add(1) / keyUses
	if c.Random.IntN(keyUses) == 0 {
		number = c.Random.Int64N(number + 1) // one of long ago
	}
	s := history.Submit{Key: fmt.Sprintf("idempotent-%d", number), Tasks: 1, Body: "same"}
	if c.Random.IntN(otherContent) == 0 {
		s.Body = "other"
	}
	s.Output = s.Body
	c.submit(ctx, s, task.Spec{Handler: "rota.echo", SharedPayload: []byte(s.Body)})
}

// snapshots submits jobs whose payloads fill the log, and keys of long ago.
type snapshots struct {
	nothingOpen
	numbers
}

const (
	// snapshotBytes is how much log there is between two snapshots, and behind the newest one:
	// about a second's worth.
	snapshotBytes = "131072"
	// snapshotPayload is how long a payload is.
	snapshotPayload = 2 << 10
)

func (q *snapshots) step(ctx context.Context, c *Client) {
	number := q.next.Add(1)
	if c.Random.IntN(3) == 0 {
		// One that was submitted before: by now its key may be known from a snapshot only.
		number = 1 + c.Random.Int64N(number)
	}
	s := history.Submit{Key: fmt.Sprintf("snapshot-%d", number), Tasks: 1, Body: "the same"}
	// It differs from key to key, so that content that got mixed up shows.
	payload := strings.Repeat(s.Key+" ", snapshotPayload/len(s.Key))
	s.Output = payload
	c.submit(ctx, s, task.Spec{Handler: "rota.echo", SharedPayload: []byte(payload)})
}

// conservation submits jobs and counts them.
type conservation struct {
	nothingOpen
	numbers
}

// queueJobs is how many jobs go into one queue: a list of them is one page, and so is read
// at one moment.
const queueJobs = 400

func (q *conservation) step(ctx context.Context, c *Client) {
	number := q.next.Add(1)
	name := fmt.Sprintf("part-%d", number/queueJobs)
	if c.Random.IntN(5) > 0 {
		s := history.Submit{Key: fmt.Sprintf("conservation-%d", number), Queue: name, Tasks: 1 + c.Random.IntN(10)}
		if c.Random.IntN(2) == 0 {
			s.MaxParallel = uint32(1 + c.Random.IntN(3))
		}
		c.submit(ctx, s, task.Spec{Handler: "rota.sleep", SharedPayload: []byte("5ms"), MaxParallel: s.MaxParallel})
		return
	}
	call(ctx, c, history.FList, history.List{Queue: name}, func(ctx context.Context) (history.Jobs, error) {
		resp, err := c.anyServer().Jobs.ListJobs(ctx, &rotav1.ListJobsRequest{Queue: name, PageSize: pageSize})
		if err != nil {
			return history.Jobs{}, err
		}
		if resp.GetNextPageToken() != "" {
			return history.Jobs{}, fmt.Errorf("the jobs of queue %s are more than a page", name)
		}
		return history.Jobs{Applied: resp.GetAppliedIndex(), Jobs: jobs(resp.GetJobs())}, nil
	})
}
