package node

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxSkew is how far the wall clocks of servers may be apart.
	maxSkew = 2 * time.Second
	// clockJump is from which leap of its time on the state is not cleaned up for
	// clockGrace: what a wrong clock says is long over may be of today.
	clockJump  = time.Minute
	clockGrace = time.Hour
)

// stateClock is the state machine's time, which never goes back: whoever sets it a year
// ahead has forgotten every finished job. So a server does not read its wall clock for it.
// It goes on from the time of the last entry, by a clock that cannot be set, and from the
// wall clock as it was when a majority of the servers had the same.
type stateClock struct {
	mu sync.Mutex
	// applied is the time of the entry that came with the least delay, Unix ns, and
	// appliedAt when it was seen.
	applied   int64
	appliedAt time.Time
	// wall is the wall clock that a majority agreed on, Unix ns, at agreedAt.
	wall     int64
	agreedAt time.Time
	last     int64
	// jumpedAt is when the time last leapt.
	jumpedAt time.Time
}

// saw notes the time of an entry that was applied. One that came late, from a leader that
// this server had not heard for a while, says nothing: it knew better before.
func (c *stateClock) saw(applied int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.applied == 0 || applied > c.applied+int64(now.Sub(c.appliedAt)) {
		c.applied, c.appliedAt = applied, now
	}
}

// now is the state machine's time. It never goes back and never stands still. The very
// first entry of a cluster has nothing but the wall clock to go by.
func (c *stateClock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(time.Now())
}

func (c *stateClock) at(now time.Time) int64 {
	var stamp int64
	if c.applied > 0 {
		stamp = c.applied + int64(now.Sub(c.appliedAt))
	}
	if !c.agreedAt.IsZero() {
		stamp = max(stamp, c.wall+int64(now.Sub(c.agreedAt)))
	}
	if stamp == 0 {
		stamp = now.UnixNano()
	}
	c.last = max(c.last, stamp)
	return c.last
}

// agreed takes the wall clock over as it was at a moment, and returns by how much the time
// has leapt.
func (c *stateClock) agreed(at time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	leap := time.Duration(at.UnixNano() - c.at(at))
	c.wall, c.agreedAt = at.UnixNano(), at
	if leap > clockJump {
		c.jumpedAt = time.Now()
	}
	return leap
}

// settled says that the time has not leapt of late.
func (c *stateClock) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumpedAt.IsZero() || time.Since(c.jumpedAt) > clockGrace
}

// verdict is what the clocks of the others say of one's own.
type verdict int

const (
	// clockUnknown: too few answers, or no majority that agrees.
	clockUnknown verdict = iota
	clockAgrees
	// clockOutOfStep: a majority agrees, and not with this server.
	clockOutOfStep
)

// judgeClock compares clocks: how far each voter that has answered is ahead of this
// server, which is not among them.
func judgeClock(others []time.Duration, voters int) verdict {
	majority := voters/2 + 1
	near := 1
	for _, ahead := range others {
		if ahead.Abs() <= maxSkew {
			near++
		}
	}
	if near >= majority {
		return clockAgrees
	}
	slices.Sort(others)
	for i := 0; i+majority <= len(others); i++ {
		if others[i+majority-1]-others[i] <= maxSkew {
			return clockOutOfStep
		}
	}
	return clockUnknown
}
