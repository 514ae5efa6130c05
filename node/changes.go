package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// maxVoters bounds the voters of a cluster. Each further one makes every commit wait for more servers.
const maxVoters = 9

// ServerRef names a server of the cluster.
type ServerRef struct {
	NodeID string
	// ServerID, if it is set, makes sure that no other server is meant that has taken the node id over
	// meanwhile. So a request can be sent again.
	ServerID string
}

// ServerChange is what became of a server.
type ServerChange struct {
	NodeID, ServerID string
	// Voter: it has a vote. Removed: it is no part of the cluster any more.
	Voter, Removed bool
	// Voters is how many servers vote now.
	Voters int
	// Note is what there is to know about it, in words; "": nothing.
	Note string
}

// changing begins a change that an operator asks for: it finds the server, and keeps others from
// changing the servers until unlock. at.ID is "" for one that was removed.
func (m *membership) changing(ctx context.Context, ref ServerRef) (servers []raft.Server, at raft.Server, unlock func(), err error) {
	if err := m.checkLeader(); err != nil {
		return nil, at, nil, err
	}
	if err := fsm.Supports(m.state.Machine().ActiveVersion(), fsm.RemovalVersion); err != nil {
		return nil, at, nil, err
	}
	if unlock, err = m.lock.enter(ctx); err != nil {
		return nil, at, nil, err
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if servers, err = m.directory.servers(); err != nil {
		return nil, at, nil, m.leader.readError(err)
	}
	at, err = m.find(servers, ref)
	return servers, at, unlock, err
}

// find finds a server. What it returns has no ID if that server was removed.
func (m *membership) find(servers []raft.Server, ref ServerRef) (raft.Server, error) {
	for _, s := range servers {
		nodeID, serverID := raftnet.SplitServerID(s.ID)
		switch {
		case nodeID != ref.NodeID:
		case ref.ServerID == "" || ref.ServerID == serverID:
			return s, nil
		case m.wasRemoved(raftnet.ServerID(ref.NodeID, ref.ServerID)):
			return raft.Server{}, nil
		default:
			return s, task.Errorf(task.KindNotFound, "server %s has the id %s, not %s: it was replaced meanwhile", nodeID, serverID, ref.ServerID)
		}
	}
	// One that was about to take a place, and has not come.
	for _, s := range m.state.Machine().Servers() {
		if s.NodeId == ref.NodeID && (ref.ServerID == "" || ref.ServerID == s.ServerId) {
			return raft.Server{ID: recordID(s), Address: raft.ServerAddress(s.PeerAddr), Suffrage: raft.Nonvoter}, nil
		}
	}
	if ref.ServerID != "" && m.wasRemoved(raftnet.ServerID(ref.NodeID, ref.ServerID)) {
		return raft.Server{}, nil
	}
	return raft.Server{}, task.Errorf(task.KindNotFound,
		"the cluster has no server %s: start it with --join and the address of a server, wait until rota cluster status shows it, and try again", ref.NodeID)
}

func (m *membership) wasRemoved(id raft.ServerID) bool { return m.directory.removed(id) }

// entitle says that a server is to have a vote. It gets the vote once it has caught up and stayed so.
func (m *membership) entitle(ctx context.Context, ref ServerRef) (ServerChange, error) {
	servers, at, unlock, err := m.changing(ctx, ref)
	if err != nil {
		return ServerChange{}, err
	}
	defer unlock()
	if at.Suffrage == raft.Voter && at.ID != "" {
		return changeOf(at, servers, ""), nil
	}
	rec, err := m.mayVote(servers, at, ref)
	if err != nil {
		return ServerChange{}, err
	}
	if err := m.wantVote(ctx, rec, true); err != nil {
		return ServerChange{}, err
	}
	return changeOf(at, servers, fmt.Sprintf("it gets its vote once it has caught up with the leader, and stayed so for %v", steadyFor)), nil
}

// mayVote refuses to give a server a vote, whether it has caught up or not. It returns what is recorded
// of the server.
func (m *membership) mayVote(servers []raft.Server, at raft.Server, ref ServerRef) (*logpb.ServerRecord, error) {
	rec := m.directory.record(at.ID)
	_, known := member(servers, at.ID)
	switch {
	case at.ID == "", m.wasRemoved(at.ID):
		return nil, task.Errorf(task.KindConflict, "server %s was removed: give it an empty data folder, and let it join as a new server", ref.NodeID)
	case rec == nil, !known:
		return nil, &task.Error{Kind: task.KindUnavailable, RetryAfter: retryDelay, Msg: fmt.Sprintf("server %s has not joined yet; try again", ref.NodeID)}
	case votersAmong(servers) >= maxVoters:
		return nil, task.Errorf(task.KindConflict, "the cluster has %d voters, the limit", maxVoters)
	}
	return rec, nil
}

// wantVote records whether a server is to have a vote.
func (m *membership) wantVote(ctx context.Context, rec *logpb.ServerRecord, vote bool) error {
	if rec == nil || rec.Vote == vote {
		return nil
	}
	rec = proto.CloneOf(rec)
	rec.Vote = vote
	return m.put(ctx, rec)
}

// promoteNow gives a server a vote at once, if it has caught up.
func (m *membership) promoteNow(ctx context.Context, ref ServerRef) (ServerChange, error) {
	servers, at, unlock, err := m.changing(ctx, ref)
	if err != nil {
		return ServerChange{}, err
	}
	defer unlock()
	if at.Suffrage == raft.Voter && at.ID != "" {
		return changeOf(at, servers, ""), nil
	}
	rec, err := m.mayVote(servers, at, ref)
	if err != nil {
		return ServerChange{}, err
	}
	if why := m.behind(ctx, at.ID); why != "" {
		return ServerChange{}, task.Errorf(task.KindConflict, "server %s %s: with rota cluster add it gets its vote once it has caught up", ref.NodeID, why)
	}
	if err := m.wantVote(ctx, rec, true); err != nil {
		return ServerChange{}, err
	}
	m.logger.Info("a server becomes a voter, as an operator wants it", "server", at.ID)
	return m.changed(at.ID, m.raft.AddVoter(at.ID, at.Address, 0, askTimeout))
}

// demote takes the vote of a server away. It goes on getting the log. A server that waits for its vote gets none.
func (m *membership) demote(ctx context.Context, ref ServerRef, force bool) (ServerChange, error) {
	servers, at, unlock, err := m.changing(ctx, ref)
	if err != nil {
		return ServerChange{}, err
	}
	defer unlock()
	rec := m.directory.record(at.ID)
	switch {
	case at.ID == "":
		return ServerChange{NodeID: ref.NodeID, ServerID: ref.ServerID, Removed: true, Voters: votersAmong(servers)}, nil
	case at.Suffrage != raft.Voter:
		return changeOf(at, servers, ""), m.wantVote(ctx, rec, false)
	}
	note, err := m.mayLoseVote(ctx, "demoting", servers, at, force)
	if err != nil {
		return ServerChange{}, err
	}
	if err := m.wantVote(ctx, rec, false); err != nil {
		return ServerChange{}, err
	}
	m.logger.Warn("a server loses its vote, as an operator wants it", "server", at.ID, "force", force, "note", note)
	c, err := m.changed(at.ID, m.raft.DemoteVoter(at.ID, 0, askTimeout))
	c.Note = note
	return c, err
}

// mayLoseVote refuses that a voter loses its vote, if that costs the majority. This server does not take its own
// vote: it hands leadership over, and says who leads.
func (m *membership) mayLoseVote(ctx context.Context, doing string, servers []raft.Server, at raft.Server, force bool) (note string, err error) {
	note, err = mayGo(doing+" "+raftnet.NodeID(at.ID), m.staying(ctx, servers, at.ID), force)
	if err != nil || at.ID != m.self.id {
		return note, err
	}
	m.logger.Info("this server is to lose its vote: it hands leadership over first")
	if err := m.handOver(ctx); err != nil {
		return note, err
	}
	return note, m.leader.notLeader()
}

// remove takes a server out of the cluster for good. First it is noted in the log: a leader that comes in between
// goes on with it.
func (m *membership) remove(ctx context.Context, ref ServerRef, force bool) (ServerChange, error) {
	servers, at, unlock, err := m.changing(ctx, ref)
	if err != nil {
		return ServerChange{}, err
	}
	defer unlock()
	if at.ID == "" {
		return ServerChange{NodeID: ref.NodeID, ServerID: ref.ServerID, Removed: true, Voters: votersAmong(servers)}, nil
	}
	note := ""
	if at.Suffrage == raft.Voter {
		if note, err = m.mayLoseVote(ctx, "removing", servers, at, force); err != nil {
			return ServerChange{}, err
		}
	}
	if err := m.noteRemoval(ctx, at.ID); err != nil {
		return ServerChange{}, err
	}
	m.logger.Warn("a server is removed, as an operator wants it", "server", at.ID, "voted", at.Suffrage == raft.Voter, "force", force, "note", note)
	c, err := m.takeOut(at.ID)
	c.Note = note
	return c, err
}

// noteRemoval notes in the log that a server was removed.
func (m *membership) noteRemoval(ctx context.Context, id raft.ServerID) error {
	nodeID, serverID := raftnet.SplitServerID(id)
	_, err := m.propose(ctx, &logpb.Op{Op: &logpb.Op_RemoveServer{RemoveServer: &logpb.RemoveServer{NodeId: nodeID, ServerId: serverID}}})
	return err
}

// takeOut takes a server out of Raft's configuration.
func (m *membership) takeOut(id raft.ServerID) (ServerChange, error) {
	c, err := m.changed(id, m.raft.RemoveServer(id, 0, askTimeout))
	if err == nil {
		m.contact.Forget(id)
	}
	return c, err
}

// changed waits for a change of Raft's configuration, and says what has become of a server.
func (m *membership) changed(id raft.ServerID, f raft.IndexFuture) (ServerChange, error) {
	nodeID, serverID := raftnet.SplitServerID(id)
	c := ServerChange{NodeID: nodeID, ServerID: serverID}
	err := f.Error()
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return c, m.leader.readError(err) // raft has not begun with it
	case err != nil:
		return c, &task.Error{Kind: task.KindUnknownOutcome, Msg: fmt.Sprintf("it is not known whether the change of server %s was made: see rota cluster status, and send it again", nodeID), Err: err}
	}
	servers, err := m.directory.servers()
	if err != nil {
		return c, m.leader.readError(err)
	}
	at, known := member(servers, id)
	c.Voter, c.Removed, c.Voters = known && at.Suffrage == raft.Voter, !known, votersAmong(servers)
	if c.Voter {
		c.Note = fewerLosses(c.Voters)
	}
	return c, nil
}

// changeOf says what a server is that was not changed in Raft's configuration.
func changeOf(at raft.Server, servers []raft.Server, note string) ServerChange {
	nodeID, serverID := raftnet.SplitServerID(at.ID)
	return ServerChange{NodeID: nodeID, ServerID: serverID, Voter: at.Suffrage == raft.Voter, Voters: votersAmong(servers), Note: note}
}
