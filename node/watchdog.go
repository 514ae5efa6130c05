package node

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// fullTicks is how many looks in a row must find a leader's disk full.
const fullTicks = 2

// watchDisk makes a leader whose disk stalls give its place up, be it that a write of the
// log does not end or that the state machine does not get on. Raft does not: it goes on
// sending heartbeats, so that the cluster stands still behind it. First it asks raft for
// a transfer; raft's main loop is likely stuck in the same write, and then only ending
// the process helps.
//
// A disk that is full is another matter: somebody may free space, so the process goes on.
// But a leader whose disk is full refuses submits, which another one may have space for.
func (n *Node) watchDisk() {
	tick := time.NewTicker(n.cfg.StallTimeout / 8)
	defer tick.Stop()
	asked, full := false, 0
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
		stalled := max(n.log.writing(), n.applier.applying())
		switch {
		case stalled < n.cfg.StallTimeout || n.raft.State() != raft.Leader:
			asked = false
		case !asked:
			asked = true
			n.cfg.Log.Warn("the disk has stalled: handing leadership over", "writing_for", stalled)
			n.offerLeadership()
		case stalled >= 2*n.cfg.StallTimeout && !n.flusher.Full():
			n.fatal(fmt.Errorf("the disk has stalled: one write of the log, or of the state behind it, takes %v; another server takes the lead", stalled.Round(time.Millisecond)))
			return
		}
	}
}
