package client

import (
	"context"
	"errors"
	"sync"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// appendsUnderWay is how many chunks of one job are under way. Each is about one log
// entry; with one at a time a large job would take as long as its commits add up to.
const appendsUnderWay = 8

// chunk is tasks on their way to a job. It says where in the job it belongs, so it may
// be sent again, by this process or by another that submits the same job anew.
type chunk struct {
	req *rotav1.AppendTasksRequest
	// before is the chunk in front of it, nil where that one is with the servers.
	before *chunk
	// queued is closed when it was put on its way for the first time, or will not be.
	queued chan struct{}
	leave  sync.Once
	// done is closed when the servers have it, or when it has failed with err.
	done chan struct{}
	err  error
}

// append puts the next chunk on its way, and waits for the oldest where many are.
func (s *submit) append() error {
	if err := s.settle(appendsUnderWay - 1); err != nil {
		return err
	}
	c := &chunk{
		req:    &rotav1.AppendTasksRequest{JobId: s.job.id, FirstIndex: s.sent, Tasks: s.tasks()},
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

func (c *chunk) left() { c.leave.Do(func() { close(c.queued) }) }

// send sends the chunk behind the one before it. Where they arrive the other way around
// nevertheless, as after an error, it is sent again once that one has arrived.
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

// settle waits until no more than so many chunks are under way. Its error is that of
// the first chunk that failed; those behind it have failed for want of it.
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

// waitAppends waits for chunks that are of no use any more: their context has ended.
func (s *submit) waitAppends() {
	for _, c := range s.appends {
		<-c.done
	}
}
