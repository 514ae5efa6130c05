package stopwatch

import (
	"sync/atomic"
	"time"
)

// A Stopwatch says for how long something has been under way. It keeps the moment with its
// reading of the monotonic clock: somebody may set the wall clock meanwhile, and an hour
// that way is no disk that has stalled for an hour.
type Stopwatch struct{ began atomic.Pointer[time.Time] }

// Start begins now.
func (s *Stopwatch) Start() { s.StartedAt(time.Now()) }

// StartedAt is Start at a moment that has passed already.
func (s *Stopwatch) StartedAt(t time.Time) { s.began.Store(&t) }

// Stop says that it is over.
func (s *Stopwatch) Stop() { s.began.Store(nil) }

// Running returns for how long it has been under way; 0: it is not.
func (s *Stopwatch) Running() time.Duration {
	began := s.began.Load()
	if began == nil {
		return 0
	}
	return time.Since(*began)
}
