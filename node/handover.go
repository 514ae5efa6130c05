package node

import "time"

const (
	// handoverPause is how long a leader that has handed leadership over, and has it
	// again, keeps it: the others may be no better off.
	handoverPause = 30 * time.Second
	// handoverRetry is the pause where nobody took it.
	handoverRetry = time.Second
)

// handover hands leadership over for a reason that may last. It is for one goroutine.
type handover struct {
	n *Node
	// next is when it may be offered again.
	next time.Time
	done <-chan error
}

// offer offers leadership to the others, unless it has done so of late.
func (h *handover) offer(why string) {
	select {
	case err := <-h.done:
		h.done = nil
		if err != nil {
			h.next = time.Now().Add(handoverRetry)
		}
	default:
	}
	if h.done != nil || time.Now().Before(h.next) {
		return
	}
	h.n.cfg.Log.Warn(why + ": handing leadership over")
	h.next = time.Now().Add(handoverPause)
	h.done = h.n.offerLeadership()
}

// offerLeadership hands leadership over in the background, and says how that ended.
func (n *Node) offerLeadership() <-chan error {
	done := make(chan error, 1)
	n.wg.Go(func() {
		err := n.transferLeadership(n.ctx, n.raft.LeadershipTransfer)
		if err != nil {
			n.cfg.Log.Warn("cannot hand leadership over", "error", err)
		}
		done <- err
	})
	return done
}
