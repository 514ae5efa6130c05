package client

import (
	"context"
	"errors"
	"sync"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// appendsUnderWay is how many chunks of one job are under way at most. Each is about one log
// entry. With one at a time, a large job would wait for all of its commits one after the other.
const appendsUnderWay = 8

// chunk is tasks on their way to a job. It says where in the job it belongs, so it may
// be sent again, by this process or by another that submits the same job anew.
type chunk struct {
	req *rotav1.AppendTasksRequest
	// before is the previous chunk; nil if the servers have it.
	before *chunk
	// queued is closed when it was put on its way for the first time, or will not be.
	queued chan struct{}
	leave  sync.Once
	// done is closed when the servers have it, or when it has failed with err.
	done chan struct{}
	err  error
}

// append sends tasks, and waits for the oldest chunk if too many are under way.
func (s *submit) append(tasks *rotav1.TaskSet) error {
	if err := s.settle(appendsUnderWay - 1); err != nil {
		return err
	}
	c := &chunk{
		req:    &rotav1.AppendTasksRequest{JobId: s.job.id, FirstIndex: s.sent, Tasks: tasks},
		queued: make(chan struct{}), done: make(chan struct{}),
	}
	if n := len(s.appends); n > 0 {
		c.before = s.appends[n-1]
	}
	s.appends = append(s.appends, c)
	op := call{op: s.job.op("append tasks to"), mutation: true, safe: true}
	go func() {
		defer close(c.done)
		defer c.left()
		_, c.err = do(s.ctx, s.c, op, func(ctx context.Context, to *server) (struct{}, error) {
			return struct{}{}, c.send(ctx, to)
		})
		c.before = nil
	}()
	return nil
}

// renew tells the servers that the job still grows: an append of nothing.
func (s *submit) renew() error {
	if err := s.settle(0); err != nil {
		return err
	}
	if err := s.append(nil); err != nil {
		return err
	}
	return s.settle(0)
}

func (c *chunk) left() { c.leave.Do(func() { close(c.queued) }) }

// send sends the chunk after the previous one. If they still arrive in the wrong order, as after
// an error, it is sent again once the previous one has arrived.
func (c *chunk) send(ctx context.Context, to *server) error {
	before := c.before
	if before != nil {
		select {
		case <-before.queued:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := to.submits.append(ctx, c.req, c.left)
	if before == nil || !errors.Is(wire.FromStatus(err), task.ErrInvalid) {
		return err
	}
	select {
	case <-before.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if before.err != nil {
		return err
	}
	return to.submits.append(ctx, c.req, c.left)
}

// settle waits until at most so many chunks are under way. Its error is that of the first
// chunk that failed; the chunks after it failed because it was missing.
func (s *submit) settle(most int) error {
	for len(s.appends) > most {
		oldest := s.appends[0]
		<-oldest.done
		if oldest.err != nil {
			return oldest.err
		}
		s.appends[0] = nil
		s.appends = s.appends[1:]
	}
	return nil
}

// waitAppends waits for chunks that are no longer useful: their context has ended.
func (s *submit) waitAppends() {
	for _, c := range s.appends {
		<-c.done
	}
}

// cuts is where another process cut the job that it began: the number of tasks of each append, in
// order. The same tasks must be cut there again, so that the servers recognise them. Without a job
// there are no cuts.
type cuts struct {
	job *Job
	// first is the index after the known cuts.
	first uint32
	known []uint32
	// over: there are no more.
	over bool
}

// next returns how many tasks the next append had; 0: there was none.
func (c *cuts) next(ctx context.Context) (uint32, error) {
	if c == nil {
		return 0, nil
	}
	if len(c.known) == 0 && !c.over {
		req := &rotav1.ListAppendsRequest{JobId: c.job.id, FirstIndex: c.first}
		op := call{op: c.job.op("complete"), safe: true}
		resp, err := do(ctx, c.job.c, op, func(ctx context.Context, s *server) (*rotav1.ListAppendsResponse, error) {
			return s.jobs.ListAppends(ctx, req)
		})
		if err != nil {
			return 0, err
		}
		c.known, c.over = resp.GetCounts(), len(resp.GetCounts()) == 0
		for _, n := range c.known {
			c.first += n
		}
	}
	if len(c.known) == 0 {
		return 0, nil
	}
	n := c.known[0]
	c.known = c.known[1:]
	return n, nil
}
