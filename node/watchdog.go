package node

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// fullTicks is how many looks in a row must find a leader's disk full.
	fullTicks = 2
	// offerPause is how long a leader whose disk is full keeps its place before it tries
	// to hand it over again. The others may have no space either.
	offerPause = 30 * time.Second
)

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
	asked := false
	var full int
	var offered time.Time
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		if full++; !n.diskFull() || n.raft.State() != raft.Leader {
			full = 0
		}
		if full >= fullTicks && time.Since(offered) > offerPause {
			offered = time.Now()
			n.cfg.Log.Warn("the disk is full: handing leadership over")
			n.offerLeadership()
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

// offerLeadership hands leadership over in the background.
func (n *Node) offerLeadership() {
	n.wg.Go(func() {
		if err := n.transferLeadership(n.ctx, n.raft.LeadershipTransfer); err != nil {
			n.cfg.Log.Warn("cannot hand leadership over", "error", err)
		}
	})
}

// diskFull says that the last write of the log or of state.db found no space.
func (n *Node) diskFull() bool { return n.flusher.Full() || n.log.full.Load() }
