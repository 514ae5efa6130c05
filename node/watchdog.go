package node

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// watchDisk makes a leader whose disk stalls give its place up, be it that a write of the
// log does not end or that the state machine does not get on. Raft does not: it goes on
// sending heartbeats, so that the cluster stands still behind it. First it asks raft for
// a transfer; raft's main loop is likely stuck in the same write, and then only ending
// the process helps. A disk that is full is another matter: somebody may free space.
func (n *Node) watchDisk() {
	tick := time.NewTicker(n.cfg.StallTimeout / 8)
	defer tick.Stop()
	asked := false
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		stalled := max(n.log.writing(), n.applier.applying())
		switch {
		case stalled < n.cfg.StallTimeout || n.raft.State() != raft.Leader:
			asked = false
		case !asked:
			asked = true
			n.cfg.Log.Warn("the disk has stalled: handing leadership over", "writing_for", stalled)
			n.wg.Go(func() {
				if err := n.transferLeadership(n.ctx); err != nil {
					n.cfg.Log.Warn("cannot hand leadership over", "error", err)
				}
			})
		case stalled >= 2*n.cfg.StallTimeout && !n.flusher.Full():
			n.fatal(fmt.Errorf("the disk has stalled: one write of the log, or of the state behind it, takes %v; another server takes the lead", stalled.Round(time.Millisecond)))
			return
		}
	}
}
