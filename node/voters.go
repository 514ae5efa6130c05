package node

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// votersEvery is how often a leader asks the other voters for their clocks and disks.
const votersEvery = time.Second

// voters is what a leader has heard from the other voters.
type voters struct {
	// count is how many there are, this server included.
	count int
	// ahead is how far the wall clock of each that has answered is ahead of this server's.
	ahead []time.Duration
	// full is how many have answered that their disks are full.
	full int
}

// watchVoters asks the other voters how they are while this server leads.
//
// Where its wall clock is out of step with theirs it hands leadership over, for users
// read times that it makes. Where the disks of a majority are full it refuses submits:
// their logs may have room within what they have taken already, and take small jobs for
// long, but the results would find no place.
func (n *Node) watchVoters(ctx context.Context) {
	tick := time.NewTicker(votersEvery)
	defer tick.Stop()
	defer n.majorityFull.Store(false)
	handover := handover{n: n}
	for {
		at := time.Now()
		others := n.askVoters(ctx, at)
		full := others.full
		if n.diskFull() {
			full++
		}
		n.majorityFull.Store(full > others.count/2)
		switch judgeClock(others.ahead, others.count) {
		case clockAgrees:
			if leap := n.applier.clock.agreed(at); leap > clockJump {
				n.cfg.Log.Warn("the time has leapt: nothing is cleaned up for a while", "by", leap, "while", clockGrace)
			}
		case clockOutOfStep:
			handover.offer("the wall clock of this server is out of step with a majority (set it)")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askVoters asks every other voter. Clocks are compared as they were at a moment, counted
// from there by a clock that cannot be set.
func (n *Node) askVoters(ctx context.Context, at time.Time) voters {
	servers, err := n.Servers()
	if err != nil {
		return voters{}
	}
	var all voters
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		all.count++
		if s.ID == n.id.raftID() {
			continue
		}
		asked.Go(func() {
			before := time.Since(at)
			info, err := n.identify(ctx, s)
			after := time.Since(at)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if info.DiskFull {
				all.full++
			}
			// An answer that took long says little of the time.
			if !info.Clock.IsZero() && after-before <= maxSkew {
				all.ahead = append(all.ahead, info.Clock.Sub(at.Round(0))-(before+after)/2)
			}
		})
	}
	asked.Wait()
	return all
}
