package node

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxSkew is how far the wall clocks of servers may be apart.
	maxSkew = 2 * time.Second
	// If the time leaps by more than clockJump, nothing is cleaned up for clockGrace: what a wrong clock
	// takes for long over may be of today.
	clockJump  = time.Minute
	clockGrace = time.Hour
)

// stateClock is the time of the state machine. It never goes back, so a time that is a year ahead makes the
// cluster forget every finished job. Therefore a server does not simply read its wall clock. It counts on from
// the time of the last entry, by a clock that cannot be set, and from its wall clock at the moment when a
// majority of the servers had the same time.
type stateClock struct {
	mu sync.Mutex
	// applied is the time of the entry that came with the least delay, Unix ns; appliedAt is when that entry
	// was applied.
	applied   int64
	appliedAt time.Time
	// wall is the wall clock, Unix ns, at the moment agreedAt, when a majority agreed with it.
	wall     int64
	agreedAt time.Time
	last     int64
	// jumpedAt is when the time last leapt.
	jumpedAt time.Time
}

// saw notes the time of an entry that was applied. An entry that comes late, for example because this server had
// not heard from the leader for a while, changes nothing: the time of an earlier entry is the better one.
func (c *stateClock) saw(applied int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.applied == 0 || applied > c.applied+int64(now.Sub(c.appliedAt)) {
		c.applied, c.appliedAt = applied, now
	}
}

// now is the time of the state machine. It never goes back and never stands still. The first entry of a cluster
// has only the wall clock.
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

// agreed takes over the wall clock of a moment at which a majority agreed with it. It returns by how much the time
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

// settled says that the time has not leapt within clockGrace.
func (c *stateClock) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jumpedAt.IsZero() || time.Since(c.jumpedAt) > clockGrace
}

// verdict is what the clocks of the other servers say about this server's clock.
type verdict int

const (
	// clockUnknown: too few answers, or no majority that agrees.
	clockUnknown verdict = iota
	clockAgrees
	// clockOutOfStep: the clocks of a majority agree with each other, and not with this server's.
	clockOutOfStep
)

// judgeClock compares clocks. others is how far each other voter that has answered is ahead of this server.
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
