package transport

import (
	"context"
	"time"

	"github.com/rota-scheduler/rota/task"
)

// endTimeout is how long a stream may take to end once it has to: time for answers that are
// ready, to a peer that reads.
const endTimeout = time.Second

// within runs f, which may wait in Send or Recv of a stream for a peer that is silent or does
// not read. These end with the stream only, and that ends when its handler returns: so within
// returns endTimeout after ctx at the latest, and f just behind the handler.
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
