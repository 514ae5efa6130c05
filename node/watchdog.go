package node

import (
	"fmt"
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

// watchDisk makes a leader whose disk stalls give its place up, be it that a write of the
// log does not end or that the state machine does not get on. Raft does not: it goes on
// sending heartbeats, so that the cluster stands still behind it. First it asks raft for
// a transfer; raft's main loop is likely stuck in the same write, and then only ending
// the process helps.
//
// A follower whose state machine stands still answers nobody, takes no snapshot, and would be
// the next leader: it says so, and ends in the end.
//
// A disk that is full is another matter: somebody may free space, so the process goes on.
// But a leader whose disk is full refuses submits, which another one may have space for.
func (n *Node) watchDisk() {
	tick := time.NewTicker(n.cfg.StallTimeout / 8)
	defer tick.Stop()
	asked, full, behind := false, 0, false
	handover := handover{n: n}
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		if full++; !n.diskFull() || n.raft.State() != raft.Leader {
			full = 0
		}
		if full >= fullTicks {
			handover.offer("the disk is full")
		}
		behind = n.raft.State() != raft.Leader && n.watchFollower(behind)
		stalled := max(n.log.Writing(), n.applier.applying())
		switch {
		case stalled < n.cfg.StallTimeout || n.raft.State() != raft.Leader:
			asked = false
		case !asked:
			asked = true
			n.cfg.Logger.Warn("the disk has stalled: handing leadership over", "writing_for", stalled)
			n.offerLeadership()
		case stalled >= 2*n.cfg.StallTimeout && !n.flusher.Full():
			n.fatal(fmt.Errorf("the disk has stalled: one write of the log, or of the state behind it, takes %v; another server takes the lead", stalled.Round(time.Millisecond)))
			return
		}
	}
}

// watchFollower looks at the state machine of a server that does not lead, and says whether
// it stands still, of which said is that it was told. One look is not enough to end it: a process
// that was paused finds all that time in the entry under way.
func (n *Node) watchFollower(said bool) bool {
	stalled := n.applier.applying()
	switch {
	case stalled < n.cfg.StallTimeout:
		return false
	case !said:
		n.cfg.Logger.Warn("the state machine of this follower stands still", "applying_for", stalled)
	case stalled >= followerStalls*n.cfg.StallTimeout && !n.flusher.Full():
		n.fatal(fmt.Errorf("the state machine of this follower has stood still for %v: its disk has stalled, or it waits for itself; start it again", stalled.Round(time.Millisecond)))
	}
	return true
}
