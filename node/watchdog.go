package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// fullTicks is how many looks in a row must find a leader's disk full.
	fullTicks = 2
	// followerStalls is after how many times the StallTimeout a follower ends whose state
	// machine stands still. Nobody waits for it as for a leader, and its disk may be slow.
	followerStalls = 5
)

// watchdog makes a leader whose disk stalls give its place up, whether a write of the
// log does not end or the state machine does not get on. Raft does not do that: it goes on
// sending heartbeats, and the cluster stands still behind them. First the watchdog asks raft for
// a transfer. Raft's main loop is likely stuck in the same write, and then only ending
// the process helps.
//
// A follower whose state machine stands still answers nobody, takes no snapshot, and would be
// the next leader: it says so, and ends if that lasts.
//
// A disk that is full is another matter: somebody may free space, so the process goes on.
// But a leader whose disk is full refuses submits, which another one may have space for.
type watchdog struct {
	raft interface{ State() raft.RaftState }
	// writing is how long the write of the log under way has taken, applying the same for the state machine.
	writing, applying func() time.Duration
	// diskFull says that there is no room on the disk, stateFull that state.db found none.
	diskFull, stateFull func() bool
	// handOver hands leadership over in the background.
	handOver     func() <-chan error
	stallTimeout time.Duration
	logger       *slog.Logger
	// fatal ends the server.
	fatal func(error)
}

// run looks again and again until ctx ends.
func (w *watchdog) run(ctx context.Context) {
	tick := time.NewTicker(w.stallTimeout / 8)
	defer tick.Stop()
	asked, full, behind := false, 0, false
	offer := offer{handOver: w.handOver, logger: w.logger}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if full++; !w.diskFull() || w.raft.State() != raft.Leader {
			full = 0
		}
		if full >= fullTicks {
			offer.make("the disk is full")
		}
		behind = w.raft.State() != raft.Leader && w.follower(behind)
		stalled := max(w.writing(), w.applying())
		switch {
		case stalled < w.stallTimeout || w.raft.State() != raft.Leader:
			asked = false
		case !asked:
			asked = true
			w.logger.Warn("the disk has stalled: handing leadership over", "writing_for", stalled)
			w.handOver()
		case stalled >= 2*w.stallTimeout && !w.stateFull():
			w.fatal(fmt.Errorf("the disk has stalled: one write of the log, or of the state behind it, takes %v; another server takes the lead", stalled.Round(time.Millisecond)))
			return
		}
	}
}

// follower looks at the state machine of a server that does not lead, and says whether
// it stands still; said: so did the last look, and the log has it. One look is not enough to end the
// server: a process that was paused finds all that time in the entry under way.
func (w *watchdog) follower(said bool) bool {
	stalled := w.applying()
	switch {
	case stalled < w.stallTimeout:
		return false
	case !said:
		w.logger.Warn("the state machine of this follower stands still", "applying_for", stalled)
	case stalled >= followerStalls*w.stallTimeout && !w.stateFull():
		w.fatal(fmt.Errorf("the state machine of this follower has stood still for %v: its disk has stalled, or it waits for itself; start it again", stalled.Round(time.Millisecond)))
	}
	return true
}
