package node

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
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

// voterWatch asks the other voters for their clocks and disks.
type voterWatch struct {
	self raft.ServerID
	// servers is Raft's configuration.
	servers  func() ([]raft.Server, error)
	identify identifyFunc
	// clock is told of the wall clock that a majority has.
	clock *stateClock
	// diskFull says that the disk of this server is full.
	diskFull func() bool
	// handOver hands leadership over in the background.
	handOver func() <-chan error
	logger   *slog.Logger
	// running is what the server waits for when it ends.
	running *sync.WaitGroup

	// majorityFull is true while this server leads and the disks of a majority are full.
	majorityFull atomic.Bool
}

// mostFull says that this server leads, and that the disks of a majority are full.
func (v *voterWatch) mostFull() bool { return v.majorityFull.Load() }

// watch asks the other voters how they are while this server leads, until ctx ends.
//
// It does so even before this server is ready to lead: if the disks of a majority have
// no room for the first entry of its term, it never becomes ready, and has to say why.
//
// If its wall clock is out of step with theirs it hands leadership over, because users
// read the times that it makes. If the disks of a majority are full it refuses submits:
// the logs may have room within the files that they have already, and take small jobs for
// long, but there would be no room for the results.
func (v *voterWatch) watch(ctx context.Context) {
	tick := time.NewTicker(votersEvery)
	defer tick.Stop()
	defer v.majorityFull.Store(false)
	offer := offer{handOver: v.handOver, logger: v.logger}
	for {
		at := time.Now()
		others := v.ask(ctx, at, allVoters)
		full := others.full
		if v.diskFull() {
			full++
		}
		v.majorityFull.Store(full > others.count/2)
		switch judgeClock(others.ahead, others.count) {
		case clockAgrees:
			v.agreed(at)
		case clockOutOfStep:
			offer.make("the wall clock of this server is out of step with a majority (set it)")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask asks every other voter, and returns when all have answered, or enough of them
// have. Clocks are compared as they were at a moment, counted from there by a clock
// that cannot be set.
func (v *voterWatch) ask(ctx context.Context, at time.Time, enough func(voters) bool) (all voters) {
	servers, err := v.servers()
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
		if s.ID == v.self {
			continue
		}
		asked++
		v.running.Go(func() {
			a := answer{before: time.Since(at)}
			a.info, a.err = v.identify(ctx, s.ID)
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

// allVoters is for ask to wait for all.
func allVoters(voters) bool { return false }

// clockWait is how long a new leader waits for the clocks of the others.
const clockWait = 50 * time.Millisecond

// setClock takes the wall clock over if a majority has the same, before a new leader
// gives anything a time. The time of the state may be behind, and what gets its time by it, such as when a task
// may be tried again, would come early once the time is right.
func (v *voterWatch) setClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, clockWait)
	defer cancel()
	at := time.Now()
	agrees := func(all voters) bool { return judgeClock(all.ahead, all.count) == clockAgrees }
	if agrees(v.ask(ctx, at, agrees)) {
		v.agreed(at)
	}
}

// agreed takes the wall clock over as it was at a moment.
func (v *voterWatch) agreed(at time.Time) {
	if leap := v.clock.agreed(at); leap > clockJump {
		v.logger.Warn("the time has leapt: nothing is cleaned up for a while", "by", leap, "while", clockGrace)
	}
}
