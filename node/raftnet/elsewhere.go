package raftnet

import (
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// parkedSuffix ends the Raft address of a server that is known to be somewhere else than Raft's configuration has
// it, and whose address another server has now. No host has a name below .invalid (RFC 6761).
const parkedSuffix = ".moved.invalid:1"

var errParked = errors.New("nobody knows where this server is now: it has yet to say so")

// Parked is the address that a server gets in Raft's configuration to make way for another one. Raft accepts no
// address twice, so servers that exchanged their addresses could not be recorded one after the other.
func Parked(id raft.ServerID) raft.ServerAddress {
	_, serverID := SplitServerID(id)
	return raft.ServerAddress(serverID + parkedSuffix)
}

// elsewhere is raft's transport with messages that go where a server is, and not where Raft's configuration has it.
//
// The configuration can be changed only by a leader. If all servers have moved at once, none of them is where the
// configuration has it, and none can be elected there. A server is known by its id, which each connection
// names, so it does not matter at which address it is found.
type elsewhere struct {
	Base
	// where is the Raft address of a server; nil: where the configuration has it.
	where func(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress

	mu sync.Mutex
	// reached is where servers have answered a heartbeat last.
	reached map[raft.ServerID]reach
}

// reach is that a server has answered at an address, to a leader of a term.
type reach struct {
	addr raft.ServerAddress
	term uint64
}

func newElsewhere(inner Base, where func(raft.ServerID, raft.ServerAddress) raft.ServerAddress) *elsewhere {
	return &elsewhere{Base: inner, where: where, reached: map[raft.ServerID]reach{}}
}

// at is where to send what is meant for a server.
func (e *elsewhere) at(id raft.ServerID, configured raft.ServerAddress) (raft.ServerAddress, error) {
	addr := configured
	if e.where != nil {
		addr = e.where(id, configured)
	}
	if strings.HasSuffix(string(addr), parkedSuffix) {
		return "", errParked
	}
	return addr, nil
}

// reachedAt is the address at which a server has answered the last heartbeat of a term; "": it has answered none.
func (e *elsewhere) reachedAt(id raft.ServerID, term uint64) raft.ServerAddress {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.reached[id]; r.term == term {
		return r.addr
	}
	return ""
}

// forget says that a server is no member any more.
func (e *elsewhere) forget(id raft.ServerID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.reached, id)
}

// AppendEntries implements raft.Transport.
func (e *elsewhere) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	addr, err := e.at(id, target)
	if err != nil {
		return err
	}
	if err := e.Base.AppendEntries(id, addr, r, out); err != nil || !isHeartbeat(r) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reached[id] = reach{addr, r.Term}
	return nil
}

// AppendEntriesPipeline implements raft.Transport.
func (e *elsewhere) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	addr, err := e.at(id, target)
	if err != nil {
		return nil, err
	}
	return e.Base.AppendEntriesPipeline(id, addr)
}

// RequestVote implements raft.Transport.
func (e *elsewhere) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	addr, err := e.at(id, target)
	if err != nil {
		return err
	}
	return e.Base.RequestVote(id, addr, r, out)
}

// RequestPreVote implements raft.WithPreVote.
func (e *elsewhere) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	addr, err := e.at(id, target)
	if err != nil {
		return err
	}
	return e.Base.RequestPreVote(id, addr, r, out)
}

// InstallSnapshot implements raft.Transport.
func (e *elsewhere) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	addr, err := e.at(id, target)
	if err != nil {
		return err
	}
	return e.Base.InstallSnapshot(id, addr, r, out, data)
}

// TimeoutNow implements raft.Transport.
func (e *elsewhere) TimeoutNow(id raft.ServerID, target raft.ServerAddress, r *raft.TimeoutNowRequest, out *raft.TimeoutNowResponse) error {
	addr, err := e.at(id, target)
	if err != nil {
		return err
	}
	return e.Base.TimeoutNow(id, addr, r, out)
}
