package ticks

import (
	"context"
	"iter"
	"time"
)

// Every yields once in each interval, the first time when one has passed, until ctx ends. The time is that of the
// tick. While the body of the loop takes longer than an interval, ticks are dropped. every must be positive.
func Every(ctx context.Context, every time.Duration) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-ticker.C:
				if !yield(now) {
					return
				}
			}
		}
	}
}

// Sleep waits for d, and returns false if ctx ended before that.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
