package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

const (
	// handoverPause is how long a leader that has handed leadership over, and has it
	// again, keeps it: the others may be no better off.
	handoverPause = 30 * time.Second
	// handoverRetry is the pause where nobody took it.
	handoverRetry = time.Second
	// transferPause is for how long a leader serves before it hands leadership over because somebody
	// asks for it, and after each attempt. Each costs everybody else an election, or a moment in
	// which nothing is taken; nobody is to keep the cluster busy with them.
	transferPause = 2 * time.Second
	// transferTick is how often it is looked whether leadership was lost.
	transferTick = 5 * time.Millisecond
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
	h.n.cfg.Logger.Warn(why + ": handing leadership over")
	h.next = time.Now().Add(handoverPause)
	h.done = h.n.offerLeadership()
}

// offerLeadership hands leadership over in the background, and says how that ended.
func (n *Node) offerLeadership() <-chan error {
	done := make(chan error, 1)
	n.wg.Go(func() {
		err := n.transferLeadership(n.ctx, n.raft.LeadershipTransfer)
		if err != nil {
			n.cfg.Logger.Warn("cannot hand leadership over", "error", err)
		}
		done <- err
	})
	return done
}

// transfers keeps apart the transfers of leadership that are asked for.
type transfers struct {
	mu sync.Mutex
	// next is when one may begin; underWay: one is being tried.
	next     time.Time
	underWay bool
}

// rest has the next transfer wait.
func (t *transfers) rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.underWay = time.Now().Add(transferPause), false
}

// enter begins one, unless it is too early.
func (t *transfers) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := time.Until(t.next)
	if t.underWay {
		wait = transferPause
	}
	if wait > 0 {
		return &task.Error{
			Kind: task.KindExhausted, RetryAfter: wait,
			Msg: fmt.Sprintf("leadership has just changed, or was to change: a leader serves for %v before it is handed over; try again then", transferPause),
		}
	}
	t.underWay = true
	return nil
}

// RequestTransfer is TransferLeadership for whoever asks for it, which is refused while this
// server's leadership is young.
func (n *Node) RequestTransfer(ctx context.Context, to string) error {
	transfer, err := n.transferTo(to)
	if transfer == nil || err != nil {
		return err
	}
	if err := n.transfers.enter(); err != nil {
		return err
	}
	defer n.transfers.rest()
	return n.handOver(ctx, transfer)
}

// TransferLeadership hands leadership over to the voter with a node id; "": to the one that
// is furthest. What is under way is answered by this server or not at all, as with any
// loss of leadership.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	transfer, err := n.transferTo(to)
	if transfer == nil || err != nil {
		return err
	}
	return n.handOver(ctx, transfer)
}

// transferTo finds the voter, and returns what begins the transfer; nil: that is this server.
func (n *Node) transferTo(to string) (transfer func() raft.Future, err error) {
	if n.raft.State() != raft.Leader {
		return nil, n.notLeader()
	}
	if to == n.id.NodeID {
		return nil, nil
	}
	servers, err := n.Servers()
	if err != nil {
		return nil, n.readError(err)
	}
	at := slices.IndexFunc(servers, func(s raft.Server) bool {
		return s.Suffrage == raft.Voter && s.ID != n.id.raftID() && (to == "" || raftnet.NodeID(s.ID) == to)
	})
	switch {
	case at < 0 && to == "":
		return nil, task.Errorf(task.KindConflict, "%s is the only voter: there is nobody to hand leadership over to", n.id.NodeID)
	case at < 0:
		return nil, task.Errorf(task.KindNotFound, "%q is no voter of this cluster: see rota cluster status for those that are", to)
	case to == "":
		return n.raft.LeadershipTransfer, nil
	}
	return func() raft.Future { return n.raft.LeadershipTransferToServer(servers[at].ID, servers[at].Address) }, nil
}

// handOver tries a transfer, and says what became of it.
func (n *Node) handOver(ctx context.Context, transfer func() raft.Future) error {
	term := n.Term()
	err := n.transferLeadership(ctx, transfer)
	// Where raft gives up, the other server may have been told all the same, and be about
	// to call an election.
	if err == nil || n.losesLeadership(ctx, term) {
		return nil
	}
	if ctx.Err() != nil {
		return &task.Error{Kind: task.KindUnknownOutcome, Msg: "the request ended before it was known whether leadership is handed over: see rota cluster status", Err: ctx.Err()}
	}
	// Not one to try again at once: requests wait while a transfer is tried.
	return task.Errorf(task.KindConflict, "leadership was not handed over: %v; the other server may be down or far behind", err)
}

// losesLeadership waits for as long as an election takes, or ctx lasts, and says whether this
// server has lost its leadership of a term.
func (n *Node) losesLeadership(ctx context.Context, term uint64) bool {
	tick := time.NewTicker(transferTick)
	defer tick.Stop()
	for end := time.Now().Add(n.cfg.ElectionTimeout); ; {
		if n.raft.State() != raft.Leader || n.Term() != term {
			return true
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		case <-n.ctx.Done():
			return false
		}
	}
}
