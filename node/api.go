package node

import (
	"context"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/scheduler"
	"github.com/rota-scheduler/rota/task"
)

// What the other packages call of a server. The component that is named here does it.

// State is the server's copy of the replicated state.
func (n *Node) State() *store.State { return n.state }

// Fleet is what this server knows of the workers while it leads.
func (n *Node) Fleet() *scheduler.Fleet { return n.fleet }

// Now is the state machine's time, Unix ns.
func (n *Node) Now() int64 { return n.clock.now() }

// NodeID is the server's node id.
func (n *Node) NodeID() string { return n.self.nodeID }

// Context ends when the server shuts down.
func (n *Node) Context() context.Context { return n.ctx }

// Propose puts op into the log and returns what applying it gave. The error has a kind;
// it is KindUnknownOutcome if ctx ended before the answer came.
func (n *Node) Propose(ctx context.Context, op *logpb.Op) (fsm.Result, error) {
	return n.requests.propose(ctx, op)
}

// ProposeAsync is Propose without the wait: done is called once, and must not block.
func (n *Node) ProposeAsync(op *logpb.Op, done func(fsm.Result, error)) {
	n.requests.proposeAsync(op, done)
}

// Submit is SubmitAsync with the wait of Propose.
func (n *Node) Submit(ctx context.Context, op *logpb.Submit, spec *task.Spec) (fsm.Result, error) {
	return n.requests.submit(ctx, op, spec)
}

// SubmitAsync proposes a submit. If there are workers for it at once, its first assignment is
// in the same entry.
func (n *Node) SubmitAsync(op *logpb.Submit, spec *task.Spec, done func(fsm.Result, error)) {
	n.requests.submitAsync(op, spec, done)
}

// Barrier returns when everything that was acknowledged anywhere before it was called is
// in this server's state machine, and this server was the leader after it was called. A
// read behind it is linearizable.
func (n *Node) Barrier(ctx context.Context) error { return n.reads.confirm(ctx) }

// WaitApplied returns when this server's state machine has reached index.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.applier.wait(ctx, index)
}

// CaughtUp says whether this server has led since its start, or has had all that a
// leader had at one time since. Before that the majority may do without it, but not
// without another one as well.
func (n *Node) CaughtUp() bool { return n.catchUp.done.Load() }

// Ready says whether this server leads and serves, and in which term.
func (n *Node) Ready() (term uint64, ok bool) { return n.leadership.ready() }

// CheckLeader returns nil if this server leads and serves, or an error with a hint.
func (n *Node) CheckLeader() error { return n.leadership.check() }

// Term is Raft's current term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// Leader returns the leader that this server knows of; NodeID is "" if there is none. A server
// without a vote is none, whatever it says of itself.
func (n *Node) Leader() Leader { return n.leaders.current() }

// LeaderAddr is the gRPC address of the leader, or "".
func (n *Node) LeaderAddr() string { return n.leaders.addr() }

// Leaderless says that no leader has been known here for longer than elections take. Whoever
// waits for one had better try another server.
func (n *Node) Leaderless() bool { return n.leaders.leaderless() }

// LeaderChanged returns a channel that is closed at the next change of the leader.
func (n *Node) LeaderChanged() <-chan struct{} { return n.leaders.changed() }

// TransferLeadership hands leadership over to the voter with a node id; "": to the one that
// is furthest. What is under way is answered by this server or not at all, as with any
// loss of leadership.
func (n *Node) TransferLeadership(ctx context.Context, to string) error {
	return n.handover.transfer(ctx, to)
}

// RequestTransfer is TransferLeadership for whoever asks for it. It is refused while this
// server's leadership is young.
func (n *Node) RequestTransfer(ctx context.Context, to string) error {
	return n.handover.request(ctx, to)
}

// AddServer takes a server in, as the leader, or records where one of the cluster is now. A
// new one is a non-voter first. Asking twice changes nothing. A server that lost its data
// folder gets the place of its old identity, unless that one is alive: then two servers have
// one node id.
func (n *Node) AddServer(ctx context.Context, p PeerInfo) (voter bool, err error) {
	return n.members.add(ctx, p)
}

// Meet answers a server that looks for the servers of its cluster.
func (n *Node) Meet(ctx context.Context, m Meeting) (Met, error) { return n.reception.meet(ctx, m) }

// EntitleServer says that a server is to have a vote, as the leader. The server gets the vote once it has caught up
// and stayed so. Saying it twice changes nothing.
func (n *Node) EntitleServer(ctx context.Context, ref ServerRef) (ServerChange, error) {
	return n.members.entitle(ctx, ref)
}

// PromoteServer gives a server a vote now, as the leader. It is refused unless the server has caught up.
func (n *Node) PromoteServer(ctx context.Context, ref ServerRef) (ServerChange, error) {
	return n.members.promoteNow(ctx, ref)
}

// DemoteServer takes the vote of a server away, as the leader. Without force it is refused if the voters that stay
// are no majority that answers. A leader does not demote itself: it hands leadership over and says who leads.
func (n *Node) DemoteServer(ctx context.Context, ref ServerRef, force bool) (ServerChange, error) {
	return n.members.demote(ctx, ref, force)
}

// RemoveServer takes a server out of the cluster for good, as the leader. It is refused as DemoteServer is. The server
// ends when it hears of it, and its data folder cannot be used again.
func (n *Node) RemoveServer(ctx context.Context, ref ServerRef, force bool) (ServerChange, error) {
	return n.members.remove(ctx, ref, force)
}

// Removed is closed when this server was removed from the cluster, and has to end.
func (n *Node) Removed() <-chan struct{} { return n.departure.done }

// Peers asks every server of the cluster, at once, who it is.
func (n *Node) Peers(ctx context.Context) ([]PeerStatus, error) {
	return n.inquiry.members(ctx, n.Self)
}

// Servers is Raft's configuration.
func (n *Node) Servers() ([]raft.Server, error) { return n.directory.servers() }

// Addrs is the gRPC addresses of the voters, as far as they are known, sorted. Workers and
// clients are told of them. They should not turn to a server without a vote: anybody can
// become one.
func (n *Node) Addrs() []string { return n.directory.voterAddrs() }

// AllAddrs is the gRPC addresses of all servers, those without a vote included, as far as they are known.
// There are none before this server is part of a cluster.
func (n *Node) AllAddrs() []string { return n.directory.allAddrs() }

// Waiting is what this server waits for to be part of a cluster; "": it is.
func (n *Node) Waiting() string { return n.joiner.waiting() }
