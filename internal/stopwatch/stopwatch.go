package node

import (
	"sync/atomic"
	"time"
)

// stopwatch says for how long something has been under way. It keeps the moment with its
// reading of the monotonic clock: somebody may set the wall clock meanwhile, and an hour
// that way is no disk that has stalled for an hour.
type stopwatch struct{ began atomic.Pointer[time.Time] }

func (s *stopwatch) start() { s.startedAt(time.Now()) }

// startedAt is start at a moment that has passed already.
func (s *stopwatch) startedAt(t time.Time) { s.began.Store(&t) }

func (s *stopwatch) stop() { s.began.Store(nil) }

// running returns for how long it has been under way; 0: it is not.
func (s *stopwatch) running() time.Duration {
	began := s.began.Load()
	if began == nil {
		return 0
	}
	return time.Since(*began)
}
