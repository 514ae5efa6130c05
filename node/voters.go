package node

import (
	"context"
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
// It does so before this server is ready to lead, too: where the disks of a majority have
// no room for the first entry of its term, it never will be, and is to say why.
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
		others := n.askVoters(ctx, at, allVoters)
		full := others.full
		if n.diskFull() {
			full++
		}
		n.majorityFull.Store(full > others.count/2)
		switch judgeClock(others.ahead, others.count) {
		case clockAgrees:
			n.clockAgreed(at)
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

// askVoters asks every other voter, and returns when all have answered, or those that have
// are enough. Clocks are compared as they were at a moment, counted from there by a clock
// that cannot be set.
func (n *Node) askVoters(ctx context.Context, at time.Time, enough func(voters) bool) (all voters) {
	servers, err := n.Servers()
	if err != nil {
		return voters{}
	}
	type answer struct {
		info PeerInfo
		err  error
		// before and after are when it was asked for and came.
		before, after time.Duration
	}
	answers := make(chan answer, len(servers))
	asked := 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		all.count++
		if s.ID == n.id.raftID() {
			continue
		}
		asked++
		n.wg.Go(func() {
			a := answer{before: time.Since(at)}
			a.info, a.err = n.identify(ctx, s.ID)
			a.after = time.Since(at)
			answers <- a
		})
	}
	for ; asked > 0 && !enough(all); asked-- {
		a := <-answers
		if a.err != nil {
			continue
		}
		if a.info.DiskFull {
			all.full++
		}
		// An answer that took long says little of the time.
		if !a.info.Clock.IsZero() && a.after-a.before <= maxSkew {
			all.ahead = append(all.ahead, a.info.Clock.Sub(at.Round(0))-(a.before+a.after)/2)
		}
	}
	return all
}

// allVoters is for askVoters to wait for all.
func allVoters(voters) bool { return false }

// clockWait is how long a new leader waits for the clocks of the others.
const clockWait = 50 * time.Millisecond

// setClock takes the wall clock over where a majority has the same, before a new leader
// stamps anything: its time may be behind, and what is stamped then, such as when a task
// may be tried again, would come early once the time is right.
func (n *Node) setClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clockWait)
	defer cancel()
	at := time.Now()
	agrees := func(v voters) bool { return judgeClock(v.ahead, v.count) == clockAgrees }
	if agrees(n.askVoters(ctx, at, agrees)) {
		n.clockAgreed(at)
	}
}

func (n *Node) clockAgreed(at time.Time) {
	if leap := n.applier.clock.agreed(at); leap > clockJump {
		n.cfg.Logger.Warn("the time has leapt: nothing is cleaned up for a while", "by", leap, "while", clockGrace)
	}
}
