package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// Leader is the leader that this server knows of.
type Leader struct {
	Term   uint64
	NodeID string
	// Addr is its gRPC address; "" where it is not known yet.
	Addr string
}

// leaders is what this server knows of who leads. It wakes those who follow that.
type leaders struct {
	raft leaderSource
	// votes says whether a server has a vote, and addrOf is its gRPC address; "": it is not known.
	votes  func(raft.ServerID) bool
	addrOf func(raft.ServerID) string
	// diskFull says that the disk of this server is full.
	diskFull        func() bool
	electionTimeout time.Duration

	mu   sync.Mutex
	next chan struct{}
	// unknown is since when there has been no leader; zero: there is one.
	unknown time.Time
	// last is the newest leader that was noted, and changes counts those that were another one than before.
	last    Leader
	changes atomic.Uint64
}

// leaderSource is raft, as far as leaders use it.
type leaderSource interface {
	CurrentTerm() uint64
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
	RegisterObserver(*raft.Observer)
	DeregisterObserver(*raft.Observer)
}

// current is the leader that this server knows of; NodeID is "" if there is none. A server
// without a vote is none, whatever it says of itself.
func (l *leaders) current() Leader {
	out := Leader{Term: l.raft.CurrentTerm()}
	_, id := l.raft.LeaderWithID()
	// The two are read one after the other. A leader must not be told of under the term of
	// the next one: others would take that for the news of the next one.
	for now := l.raft.CurrentTerm(); now != out.Term; now = l.raft.CurrentTerm() {
		out.Term = now
		_, id = l.raft.LeaderWithID()
	}
	if id != "" && l.votes(id) {
		out.NodeID, out.Addr = raftnet.NodeID(id), l.addrOf(id)
	}
	return out
}

// addr is the gRPC address of the leader, or "".
func (l *leaders) addr() string { return l.current().Addr }

// notLeader is the error for what only the leader can do.
func (l *leaders) notLeader() error {
	leader := l.addr()
	msg := "this server is not the leader"
	switch {
	case leader == "" && l.diskFull():
		// The missing vote may be that of this server, which has to store it.
		msg = "no leader is elected, and the disk of this server is full: free some space"
	case leader == "":
		msg = "no leader is elected; try again"
	}
	return &task.Error{Kind: task.KindUnavailable, Msg: msg, Leader: leader, RetryAfter: retryDelay}
}

// readError is the error for a read that could not be confirmed. A read has no effect,
// so it never ends in an unknown outcome.
func (l *leaders) readError(err error) error {
	return &task.Error{Kind: task.KindUnavailable, Msg: "leadership could not be confirmed; try again", Leader: l.addr(), RetryAfter: retryDelay, Err: err}
}

// leaderlessFactor times the election timeout is how long there may be no leader while one
// is elected, with room for elections that fail. After that, either this server does
// not hear of the leader, or there can be none.
const leaderlessFactor = 5

// leaderless says that no leader has been known here for longer than elections take. Whoever
// waits for one had better try another server.
func (l *leaders) leaderless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.unknown.IsZero() && time.Since(l.unknown) > leaderlessFactor*l.electionTimeout
}

// note remembers since when there has been no leader, and counts leaders.
func (l *leaders) note(now Leader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case now.NodeID != "":
		l.unknown = time.Time{}
		if now.Term != l.last.Term || now.NodeID != l.last.NodeID {
			l.last = now
			l.changes.Add(1)
		}
	case l.unknown.IsZero():
		l.unknown = time.Now()
	}
}

// changed returns a channel that is closed at the next change of the leader.
func (l *leaders) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = make(chan struct{})
	}
	return l.next
}

// wake wakes those who follow changes of the leader.
func (l *leaders) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next != nil {
		close(l.next)
		l.next = nil
	}
}

// watch follows raft's observations of leaders until ctx ends. places gets an element if servers have
// moved, or there are others. ask finds out where a leader is whose address is not known.
func (l *leaders) watch(ctx context.Context, places <-chan struct{}, ask func()) {
	// A full channel drops observations; each only says to look again.
	ch := make(chan raft.Observation, 16)
	obs := raft.NewObserver(ch, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	l.raft.RegisterObserver(obs)
	defer l.raft.DeregisterObserver(obs)
	for {
		l.note(l.current())
		select {
		case <-ctx.Done():
			l.wake()
			return
		case <-ch:
			if now := l.current(); now.NodeID != "" && now.Addr == "" {
				ask()
			}
			l.wake()
		case <-places:
			l.wake()
		}
	}
}
