package node

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// watchDisk makes a leader whose disk stalls give its place up. Raft does not: it goes
// on sending heartbeats, so that the cluster stands still behind it. First it asks raft
// for a transfer; raft's main loop is likely stuck in the same write, and then only
// ending the process helps.
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
		stalled := n.log.writing()
		switch {
		case stalled < n.cfg.StallTimeout || n.raft.State() != raft.Leader:
			asked = false
		case !asked:
			asked = true
			n.cfg.Log.Warn("the disk has stalled: handing leadership over", "writing_for", stalled)
			go func() { _ = n.transferLeadership(n.ctx) }()
		case stalled >= 2*n.cfg.StallTimeout:
			n.fatal(fmt.Errorf("the disk has stalled: one write of the log takes %v; another server takes the lead", stalled.Round(time.Millisecond)))
			return
		}
	}
}
