package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

const (
	// maxNonVoters is how many servers without a vote a cluster takes in that replace no other: each
	// gets the whole log, which is work for the leader.
	maxNonVoters = 3
	// replaceAfter is how long the leader must have had no answer from a server, at its recorded address,
	// before a new server of its node id gets its place, or before the leader believes that it
	// has moved. Restarts take less.
	replaceAfter = 5 * time.Second
	// evictAfter is how long a server without a vote must not have answered to make room for
	// another one.
	evictAfter = time.Minute
)

// membership decides which servers the cluster has, and where they are, while this server leads.
//
// Whoever reaches a port of the cluster can ask to become a part of it. What can be checked
// without secrets is checked before anything is written: that the server that asks
// answers at the address that it names, as the one that it says it is; that a server whose
// place it wants has not answered for long; and that neither questions nor answers cost
// much, however often they come.
type membership struct {
	self      *self
	raft      membersRaft
	state     stateMachine
	directory *directory
	// identify asks a server of the cluster who it is, and probe whoever is at an address, over a connection of its own.
	identify identifyFunc
	probe    func(ctx context.Context, addr string) (PeerInfo, error)
	contact  peerContact
	propose  proposeFunc
	// checkLeader returns an error unless this server leads and serves.
	checkLeader func() error
	leader      leaderErrors
	// version rises when all voters know a newer one.
	version *versionRise
	// handOver hands leadership over to another voter.
	handOver func(ctx context.Context) error
	logger   *slog.Logger

	lock  membersLock
	joins joins
}

// membersRaft is raft, as far as a membership uses it.
type membersRaft interface {
	CurrentTerm() uint64
	AddVoter(id raft.ServerID, addr raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture
	AddNonvoter(id raft.ServerID, addr raft.ServerAddress, prev uint64, timeout time.Duration) raft.IndexFuture
	DemoteVoter(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture
	RemoveServer(id raft.ServerID, prev uint64, timeout time.Duration) raft.IndexFuture
}

// identifyFunc asks a server of the cluster who it is.
type identifyFunc func(ctx context.Context, id raft.ServerID) (PeerInfo, error)

// peerContact is what raft's transport knows of the other servers.
type peerContact interface {
	// Silence is how long a server has answered none of the messages of a term; 0: it has, or nothing is known.
	Silence(id raft.ServerID, term uint64) time.Duration
	// ReachedAt is the Raft address at which a server has answered the last heartbeat of a term; "": it has answered none.
	ReachedAt(id raft.ServerID, term uint64) raft.ServerAddress
	// Forget says that a server is no member any more.
	Forget(id raft.ServerID)
}

// add takes a server in, as the leader, or records where one of the cluster is now. A
// new one is a non-voter first. Asking twice changes nothing. A server that lost its data
// folder gets the place of its old identity, unless that one is alive: then two servers have
// one node id.
func (m *membership) add(ctx context.Context, p PeerInfo) (voter bool, err error) {
	if err := m.checkLeader(); err != nil {
		return false, err
	}
	if err := m.checkJoining(p); err != nil {
		return false, err
	}
	c, err := m.judge(p)
	if errors.Is(err, ErrRemoved) {
		return false, m.confirmRemoved(ctx, p)
	}
	if err != nil || c.nothing() {
		return c.voter, m.joins.refused(p.NodeID, c.known, err)
	}
	leave, err := m.joins.enter(c.key(p), time.Now())
	if err != nil {
		return c.voter, err
	}
	defer leave()
	told, err := m.callBack(ctx, p)
	if err == nil {
		err = m.change(ctx, told)
	}
	if err == nil {
		m.joins.admitted(c.key(p), time.Now())
	}
	return c.voter, m.joins.refused(p.NodeID, c.known, err)
}

// confirmRemoved tells a server that it was removed, once that is certain: the server ends, and its vote must not be
// needed any more.
func (m *membership) confirmRemoved(ctx context.Context, p PeerInfo) error {
	// The change that takes it out of the configuration may be under way.
	unlock, err := m.lock.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.checkLeader(); err != nil {
		return err
	}
	_, err = m.judge(p)
	return err
}

// checkJoining finds what is wrong with what a server says of itself.
func (m *membership) checkJoining(p PeerInfo) error {
	for _, err := range []error{
		task.ValidNodeID("node id", p.NodeID), task.ValidNodeID("server id", p.ServerID),
		task.ValidAddr("gRPC address", p.Addr), task.ValidAddr("Raft address", p.PeerAddr),
	} {
		if err != nil {
			return err
		}
	}
	if len(p.HTTPAddr) > task.MaxAddr || len(p.Version) > task.MaxName {
		return task.Errorf(task.KindTooLarge, "the HTTP address or the version of server %s is too long", p.NodeID)
	}
	if id := m.state.Machine().ClusterID(); p.ClusterID != "" && p.ClusterID != id {
		return task.Errorf(task.KindConflict, "server %s has the state of another cluster, %s: give it an empty data folder, or start it with the addresses of its own cluster in --join", p.NodeID, p.ClusterID)
	}
	return checkKnows(&p, m.state.Machine().ActiveVersion())
}

// change is what has to be done to have a server where it says that it is.
type change struct {
	// known: the configuration has it, and voter: with a vote.
	known, voter bool
	// record is that of the server as it is to be; put says that it differs from what is
	// recorded.
	record *logpb.ServerRecord
	put    bool
	// gone is the server whose place it takes; its ID is "" where there is none.
	gone raft.Server
	// add: it is to be put into the configuration, or its address there changed.
	add bool
	// inWay is the server that has its Raft address in the configuration, and is not there; its ID is "" where there is
	// none.
	inWay raft.Server
}

func (c *change) nothing() bool { return !c.put && !c.add }

// key is what bounds how often changes come: each known server, or what takes the place of a
// voter, for itself, and all others together.
func (c *change) key(p PeerInfo) string {
	if c.known || c.record.GetVote() {
		return p.NodeID
	}
	return ""
}

// judge finds what is to be changed for a server, or why it cannot be. It asks nobody.
func (m *membership) judge(p PeerInfo) (c change, err error) {
	servers, err := m.directory.servers()
	if err != nil {
		return c, m.leader.readError(err)
	}
	id := p.RaftID()
	if id == m.self.id {
		return change{known: true, voter: true}, nil // which records itself
	}
	c.record = &logpb.ServerRecord{NodeId: p.NodeID, ServerId: p.ServerID, Addr: p.Addr, PeerAddr: p.PeerAddr, HttpAddr: p.HTTPAddr, Version: p.Version}
	old := m.directory.record(id)
	at, known := member(servers, id)
	if m.wasRemoved(id) {
		return c, m.refuseRemoved(p.NodeID, known)
	}
	if known {
		c.known, c.voter = true, at.Suffrage == raft.Voter
		// Where an earlier build has taken a server in, nothing says what for.
		c.record.Vote = old.GetVote() || old == nil && !c.voter && oneShort(servers)
		c.put = old == nil || !sameRecord(old, c.record)
		c.add = string(at.Address) != p.PeerAddr
	} else {
		c.put, c.add = true, true
	}
	for _, s := range servers {
		switch {
		case s.ID == id:
		case raftnet.NodeID(s.ID) == p.NodeID:
			c.gone = s
		case string(s.Address) == p.PeerAddr && m.isElsewhere(s, p):
			c.inWay = s
		case string(s.Address) == p.PeerAddr:
			return c, task.Errorf(task.KindConflict, "Raft address %s is that of server %s: give server %s an address of its own", p.PeerAddr, raftnet.NodeID(s.ID), p.NodeID)
		}
	}
	switch {
	case c.nothing():
	case known && c.gone.ID != "":
		return c, task.Errorf(task.KindConflict, "the cluster has two servers of the node id %s", p.NodeID) // nothing here makes any
	case known && c.add && m.reachedAt(id) == raft.ServerAddress(p.PeerAddr):
		// This leader was elected while all looked for each other, and has found it there.
	case known && c.add:
		err = m.checkGone(at)
	case known:
	case c.gone.ID != "":
		c.record.Vote = c.gone.Suffrage == raft.Voter || m.directory.record(c.gone.ID).GetVote() || old.GetVote()
		c.put = old == nil || !proto.Equal(old, c.record)
		if c.gone.Suffrage == raft.Voter && m.replacing(servers) {
			return c, task.Errorf(task.KindUnavailable, "another server is being replaced; this one has to wait until that one has caught up")
		}
		err = m.checkGone(c.gone)
	case m.owedVote(p.NodeID, servers):
		// A leader was lost in the midst of this.
		c.record.Vote = true
	default:
		c.gone, err = m.makeRoom(servers)
	}
	return c, err
}

// refuseRemoved is the error for a server that was removed and asks to be a part of the cluster. known: Raft's
// configuration has it still.
func (m *membership) refuseRemoved(nodeID string, known bool) error {
	if known {
		return &task.Error{Kind: task.KindUnavailable, RetryAfter: retryDelay, Msg: fmt.Sprintf("server %s is being removed", nodeID)}
	}
	return &task.Error{Kind: task.KindConflict, Msg: fmt.Sprintf("server %s has to end", nodeID), Err: ErrRemoved}
}

// aboutToVote says whether a server has no vote and is to get one. One that has not answered for long is not waited for.
func (m *membership) aboutToVote(s raft.Server) bool {
	return s.Suffrage != raft.Voter && m.directory.record(s.ID).GetVote() && m.silence(s.ID) <= evictAfter
}

// replacing says that the place of a voter is about to be taken, or that another vote is about to be given.
func (m *membership) replacing(servers []raft.Server) bool {
	return slices.ContainsFunc(servers, m.aboutToVote) || slices.ContainsFunc(m.state.Machine().Servers(), func(s *logpb.ServerRecord) bool { return m.owedVote(s.NodeId, servers) })
}

// owedVote says whether a server of a node id was to take the place of one that voted, and
// nobody has that place.
func (m *membership) owedVote(nodeID string, servers []raft.Server) bool {
	for _, s := range m.state.Machine().Servers() {
		if _, known := member(servers, recordID(s)); s.NodeId == nodeID && !known {
			return s.Vote
		}
	}
	return false
}

// makeRoom returns the server that has to leave for a new one that replaces none, if one has to.
func (m *membership) makeRoom(servers []raft.Server) (gone raft.Server, err error) {
	strangers := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter || m.directory.record(s.ID).GetVote() {
			continue
		}
		strangers++
		if m.silence(s.ID) > evictAfter {
			gone = s
		}
	}
	switch {
	case strangers < maxNonVoters:
		return raft.Server{}, nil
	case gone.ID == "":
		return gone, task.Errorf(task.KindExhausted, "the cluster has %d servers without a vote, the limit: stop one of them, and it is forgotten after %v", strangers, evictAfter)
	}
	return gone, nil
}

// checkGone makes sure that the leader has had no answer from a server for so long, where
// Raft's configuration has it. Each of Raft's messages names whom it is for, so another
// server at that address does not answer in its stead.
func (m *membership) checkGone(s raft.Server) error {
	switch silent := m.silence(s.ID); {
	case silent == 0:
		// What is not known is not dead.
		return task.Errorf(task.KindConflict, "node %s is a living server of the cluster already, at Raft address %s: give the new server a node id and addresses of its own", raftnet.NodeID(s.ID), s.Address)
	case silent < replaceAfter:
		return &task.Error{
			Kind: task.KindUnavailable, RetryAfter: retryDelay,
			Msg: fmt.Sprintf("node %s answered at Raft address %s less than %v ago: a server of its name elsewhere, or without its data, has to wait", raftnet.NodeID(s.ID), s.Address, replaceAfter),
		}
	}
	return nil
}

// callBack makes sure that the server that asks to be taken in is where it says that it is,
// and returns what it says there. What was asked may have come from anybody.
func (m *membership) callBack(ctx context.Context, p PeerInfo) (told PeerInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	told, err = m.probe(ctx, p.Addr)
	switch {
	case err != nil:
		return told, task.Errorf(task.KindUnavailable, "server %s says that it is at %s, and does not answer there: %v", p.NodeID, p.Addr, err)
	case told.RaftID() != p.RaftID() || told.Nonce != p.Nonce || told.Addr != p.Addr || told.PeerAddr != p.PeerAddr:
		return told, task.Errorf(task.KindConflict, "server %s says that it is at %s (Raft %s), where server %s says that it is at %s (Raft %s)",
			p.RaftID(), p.Addr, p.PeerAddr, told.RaftID(), told.Addr, told.PeerAddr)
	}
	return told, m.checkJoining(told)
}

// stillThere asks a server that is about to lose its place whether it is where it is
// recorded: it may be that only Raft's port has failed.
func (m *membership) stillThere(ctx context.Context, s raft.Server, nonce string) error {
	got, err := m.identify(ctx, s.ID)
	if err != nil || got.Nonce == nonce {
		return nil //nolint:nilerr // A server that does not answer is not there.
	}
	return task.Errorf(task.KindConflict, "server %s still answers at %s: end it there first", s.ID, got.Addr)
}

// change makes the cluster have a server where it is.
func (m *membership) change(ctx context.Context, p PeerInfo) error {
	unlock, err := m.lock.enter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	// What was found before may be out of date by now.
	c, err := m.judge(p)
	if err != nil || c.nothing() {
		return err
	}
	id, addr := p.RaftID(), raft.ServerAddress(p.PeerAddr)
	if c.known && c.add {
		if err := m.stillThere(ctx, raft.Server{ID: id}, p.Nonce); err != nil {
			return err
		}
	}
	// First the record, then the configuration: whoever hears of a server knows where it is, and a
	// leader that comes in between knows that the server has to get a vote.
	if gone := c.gone; gone.ID != "" {
		if err := m.stillThere(ctx, gone, ""); err != nil {
			return err
		}
	}
	if c.put {
		if err := m.put(ctx, c.record); err != nil {
			return err
		}
	}
	if gone := c.gone; gone.ID != "" {
		m.logger.Warn("a server gives its place to another one", "was", gone.ID, "is", id, "voted", gone.Suffrage == raft.Voter)
		if err := m.noteReplaced(ctx, gone, c.record); err != nil {
			return err
		}
		if err := m.raft.RemoveServer(gone.ID, 0, askTimeout).Error(); err != nil {
			return m.leader.readError(err)
		}
		m.contact.Forget(gone.ID)
	}
	if !c.add {
		return nil
	}
	if err := m.makeWay(c.inWay); err != nil {
		return err
	}
	add := m.raft.AddNonvoter
	if c.voter {
		add = m.raft.AddVoter // which changes its address and nothing else
	}
	m.logger.Info("a server is taken into the configuration", "server", id, "peer_addr", addr, "addr", p.Addr, "known", c.known, "votes", c.voter, "is_to_vote", c.record.GetVote())
	if err := add(id, addr, 0, askTimeout).Error(); err != nil {
		return m.leader.readError(err)
	}
	return nil
}

// isElsewhere says whether a server is not where the configuration has it: at the address that p has now.
func (m *membership) isElsewhere(s raft.Server, p PeerInfo) bool {
	at := raft.ServerAddress(p.PeerAddr)
	switch reached := m.reachedAt(s.ID); {
	case s.ID == m.self.id:
		return m.self.peerAddr != p.PeerAddr
	case m.silence(s.ID) > 0:
		// It does not answer. Nobody else answers for p at this address, or p has been away for longer than restarts take.
		return m.reachedAt(p.RaftID()) == at || m.silence(s.ID) >= replaceAfter
	default:
		return reached != "" && reached != at
	}
}

// makeWay takes the address from a server that is elsewhere: Raft's configuration has no address twice. The server
// gets its new one when it says where it is. Until then its record, or where it was found, leads to it.
func (m *membership) makeWay(s raft.Server) error {
	if s.ID == "" {
		return nil
	}
	change := m.raft.AddNonvoter
	if s.Suffrage == raft.Voter {
		change = m.raft.AddVoter
	}
	m.logger.Info("another server has the Raft address of a server now", "server", s.ID, "peer_addr", s.Address)
	if err := change(s.ID, raftnet.Parked(s.ID), 0, askTimeout).Error(); err != nil {
		return m.leader.readError(err)
	}
	return nil
}

// reachedAt is the Raft address at which this leader reaches a server; "": it does not.
func (m *membership) reachedAt(id raft.ServerID) raft.ServerAddress {
	if m.silence(id) > 0 {
		return ""
	}
	return m.contact.ReachedAt(id, m.raft.CurrentTerm())
}

// noteReplaced notes that a server is gone for good whose place in votes another one has taken. Its data folder may
// turn up again.
func (m *membership) noteReplaced(ctx context.Context, gone raft.Server, by *logpb.ServerRecord) error {
	if raftnet.NodeID(gone.ID) != by.NodeId || !by.Vote || m.state.Machine().ActiveVersion() < fsm.RemovalVersion {
		return nil
	}
	return m.noteRemoval(ctx, gone.ID)
}

// silence is how long this leader has had no answer from a server, to any of the messages that
// it sends all the time to where the configuration has it. 0: it answers, or nothing is
// known yet.
func (m *membership) silence(id raft.ServerID) time.Duration {
	if id == m.self.id {
		return 0
	}
	return m.contact.Silence(id, m.raft.CurrentTerm())
}

func (m *membership) put(ctx context.Context, s *logpb.ServerRecord) error {
	_, err := m.propose(ctx, &logpb.Op{Op: &logpb.Op_PutServer{PutServer: &logpb.PutServer{Server: s}}})
	return err
}

// membersLock lets one change of the servers of the cluster be made at a time: it has an element
// while one is under way.
type membersLock chan struct{}

func newMembersLock() membersLock { return make(membersLock, 1) }

// enter waits until nobody else changes the servers of the cluster.
func (l membersLock) enter(ctx context.Context) (unlock func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, &task.Error{Kind: task.KindUnavailable, Msg: "another change of the servers is under way; try again", Err: ctx.Err()}
	}
}

// oneShort says that a voter was removed whose successor does not vote yet, in a cluster that an earlier build has
// made, of an odd number of servers, and without records.
func oneShort(servers []raft.Server) bool {
	return votersAmong(servers)%2 == 0
}
