package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// maxSkew is how far the wall clocks of servers may be apart.
	maxSkew = 2 * time.Second
	// clockEvery is how often a leader compares its wall clock with those of the others.
	clockEvery = time.Second
	// clockOffer is how long a leader whose clock is out of step keeps its place before it
	// tries to hand it over again.
	clockOffer = 30 * time.Second
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
	// applied is the time of the last entry, Unix ns, and appliedAt when it was seen.
	applied   int64
	appliedAt time.Time
	// wall is the wall clock that a majority agreed on, Unix ns, at agreedAt.
	wall     int64
	agreedAt time.Time
	last     int64
	// jumpedAt is when the time last leapt.
	jumpedAt time.Time
}

// saw notes the time of an entry that was applied.
func (c *stateClock) saw(applied int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if applied > c.applied {
		c.applied, c.appliedAt = applied, time.Now()
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

// watchClock compares this leader's wall clock with those of the others while it leads.
// One that is out of step hands leadership over, for users read times that it makes.
func (n *Node) watchClock(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	var offered time.Time
	for {
		at := time.Now()
		others, voters := n.askClocks(ctx, at)
		switch judgeClock(others, voters) {
		case clockAgrees:
			if leap := n.applier.clock.agreed(at); leap > clockJump {
				n.cfg.Log.Warn("the time has leapt: nothing is cleaned up for a while", "by", leap, "while", clockGrace)
			}
		case clockOutOfStep:
			if time.Since(offered) > clockOffer {
				offered = time.Now()
				n.cfg.Log.Warn("the wall clock of this server is out of step with a majority: handing leadership over; set its clock")
				n.offerLeadership()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askClocks asks every other voter for its wall clock, and returns how far each is ahead of
// this server's as it was at a moment, and how many voters there are, this one included.
// All is counted from that moment by a clock that cannot be set.
func (n *Node) askClocks(ctx context.Context, at time.Time) (others []time.Duration, voters int) {
	servers, err := n.Servers()
	if err != nil {
		return nil, 0
	}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == n.id.raftID() {
			continue
		}
		asked.Go(func() {
			before := time.Since(at)
			info, err := n.identify(ctx, s)
			after := time.Since(at)
			// An answer that took long says little.
			if err != nil || info.Clock.IsZero() || after-before > maxSkew {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			others = append(others, info.Clock.Sub(at.Round(0))-(before+after)/2)
		})
	}
	asked.Wait()
	return others, voters
}
