package node

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

const (
	// transferPause is for how long a leader serves before it hands leadership over because somebody
	// asks for it, and after each attempt. Each costs everybody else an election, or a moment in
	// which nothing is taken; nobody may keep the cluster busy with them.
	transferPause = 2 * time.Second
	// transferTick is how often a leader whose transfer failed checks whether it was deposed all the same.
	transferTick = 5 * time.Millisecond
)

// handover hands leadership over to another server.
type handover struct {
	self raft.ServerID
	raft transferRaft
	// servers is Raft's configuration.
	servers func() ([]raft.Server, error)
	leader  leaderErrors
	// electionTimeout is how long a server that was told to take the lead may take to be elected.
	electionTimeout time.Duration
	logger          *slog.Logger
	// ending ends when the server does, which waits for running.
	ending  context.Context
	running *sync.WaitGroup

	limit transferLimit
}

// transferRaft is raft, as far as a handover uses it.
type transferRaft interface {
	State() raft.RaftState
	CurrentTerm() uint64
	LeadershipTransfer() raft.Future
	LeadershipTransferToServer(raft.ServerID, raft.ServerAddress) raft.Future
}

// leaderErrors makes errors that say where the leader is.
type leaderErrors interface {
	// notLeader is for what only the leader can do, readError for a read that could not be confirmed.
	notLeader() error
	readError(error) error
}

// begin hands leadership over in the background, and says how that ended.
func (h *handover) begin() <-chan error {
	done := make(chan error, 1)
	h.running.Go(func() {
		err := h.wait(h.ending, h.raft.LeadershipTransfer)
		if err != nil {
			h.logger.Warn("cannot hand leadership over", "error", err)
		}
		done <- err
	})
	return done
}

// away hands leadership over to the voter that is furthest, for as long as ctx lasts.
func (h *handover) away(ctx context.Context) error { return h.wait(ctx, h.raft.LeadershipTransfer) }

// wait waits for a transfer, as long as ctx lasts.
func (h *handover) wait(ctx context.Context, transfer func() raft.Future) error {
	done := make(chan error, 1)
	// Raft answers it, within about an election timeout, unless it is stuck itself.
	h.running.Go(func() { done <- transfer().Error() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// request is transfer for whoever asks for it. It is refused while this server's leadership is young.
func (h *handover) request(ctx context.Context, to string) error {
	transfer, err := h.find(to)
	if transfer == nil || err != nil {
		return err
	}
	if err := h.limit.enter(); err != nil {
		return err
	}
	defer h.limit.rest()
	return h.try(ctx, transfer)
}

// transfer hands leadership over to the voter with a node id; "": to the one that is furthest.
// What is under way is answered by this server or not at all, as with any loss of leadership.
func (h *handover) transfer(ctx context.Context, to string) error {
	transfer, err := h.find(to)
	if transfer == nil || err != nil {
		return err
	}
	return h.try(ctx, transfer)
}

// find finds the voter, and returns what begins the transfer; nil: this server is the one.
func (h *handover) find(to string) (transfer func() raft.Future, err error) {
	if h.raft.State() != raft.Leader {
		return nil, h.leader.notLeader()
	}
	own := raftnet.NodeID(h.self)
	if to == own {
		return nil, nil
	}
	servers, err := h.servers()
	if err != nil {
		return nil, h.leader.readError(err)
	}
	at := slices.IndexFunc(servers, func(s raft.Server) bool {
		return s.Suffrage == raft.Voter && s.ID != h.self && (to == "" || raftnet.NodeID(s.ID) == to)
	})
	switch {
	case at < 0 && to == "":
		return nil, task.Errorf(task.KindConflict, "%s is the only voter: there is nobody to hand leadership over to", own)
	case at < 0:
		return nil, task.Errorf(task.KindNotFound, "%q is no voter of this cluster: see rota cluster status for those that are", to)
	case to == "":
		return h.raft.LeadershipTransfer, nil
	}
	return func() raft.Future { return h.raft.LeadershipTransferToServer(servers[at].ID, servers[at].Address) }, nil
}

// try tries a transfer, and says what became of it.
func (h *handover) try(ctx context.Context, transfer func() raft.Future) error {
	term := h.raft.CurrentTerm()
	err := h.wait(ctx, transfer)
	// When raft gives up, the other server may have been told all the same, and be about
	// to call an election.
	if err == nil || h.deposed(ctx, term) {
		return nil
	}
	if ctx.Err() != nil {
		return &task.Error{Kind: task.KindUnknownOutcome, Msg: "the request ended before it was known whether leadership is handed over: see rota cluster status", Err: ctx.Err()}
	}
	// Not one to try again at once: requests wait while a transfer is tried.
	return task.Errorf(task.KindConflict, "leadership was not handed over: %v; the other server may be down or far behind", err)
}

// deposed waits for as long as an election takes, or ctx lasts, and says whether this
// server has lost its leadership of a term.
func (h *handover) deposed(ctx context.Context, term uint64) bool {
	tick := time.NewTicker(transferTick)
	defer tick.Stop()
	for end := time.Now().Add(h.electionTimeout); ; {
		if h.raft.State() != raft.Leader || h.raft.CurrentTerm() != term {
			return true
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		case <-h.ending.Done():
			return false
		}
	}
}

// transferLimit keeps the transfers of leadership that are asked for apart.
type transferLimit struct {
	mu sync.Mutex
	// next is when one may begin; underWay: one is being tried now.
	next     time.Time
	underWay bool
}

// rest makes the next transfer wait.
func (t *transferLimit) rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.underWay = time.Now().Add(transferPause), false
}

// enter begins one, unless it is too early.
func (t *transferLimit) enter() error {
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
