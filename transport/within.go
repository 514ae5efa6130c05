package transport

import (
	"context"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// endTimeout is how long a stream may take to end once it has to. A peer that reads gets the answers that are ready in
// this time.
const endTimeout = time.Second

// within runs f, which may wait in Send or Recv of a stream for a peer that is silent or does not read. Such calls
// return only when the stream ends, and the stream ends when its handler returns. So within returns at the latest
// endTimeout after ctx has ended, and f returns just after the handler.
func (s *Server) within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	s.begun.Go(func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return task.Errorf(task.KindUnavailable, "the stream was to end, and its peer neither reads nor writes; open another one")
	}
}
