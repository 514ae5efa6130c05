package raftnet

import (
	"io"
	"strings"

	"github.com/hashicorp/raft"
)

// identityMark stands between an address and an id, where raft's transport knows of
// addresses only. No address contains it.
const identityMark = "#"

var _ Base = pipelined{}

// peerIdentity is raft's transport, with the id of a server as a part of its address: raft finds
// a server by its address alone.
type peerIdentity struct {
	Base
}

func withIdentity(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return target + identityMark + raft.ServerAddress(id)
}

// splitIdentity is the inverse of withIdentity.
func splitIdentity(addr raft.ServerAddress) (target string, id raft.ServerID) {
	target, meant, _ := strings.Cut(string(addr), identityMark)
	return target, raft.ServerID(meant)
}

// AppendEntriesPipeline implements raft.Transport.
func (p peerIdentity) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return p.Base.AppendEntriesPipeline(id, withIdentity(id, target))
}

// AppendEntries implements raft.Transport.
func (p peerIdentity) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	return p.Base.AppendEntries(id, withIdentity(id, target), r, out)
}

// RequestVote implements raft.Transport.
func (p peerIdentity) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	return p.Base.RequestVote(id, withIdentity(id, target), r, out)
}

// RequestPreVote implements raft.WithPreVote.
func (p peerIdentity) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	return p.Base.RequestPreVote(id, withIdentity(id, target), r, out)
}

// InstallSnapshot implements raft.Transport.
func (p peerIdentity) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	return p.Base.InstallSnapshot(id, withIdentity(id, target), r, out, data)
}

// TimeoutNow implements raft.Transport.
func (p peerIdentity) TimeoutNow(id raft.ServerID, target raft.ServerAddress, r *raft.TimeoutNowRequest, out *raft.TimeoutNowResponse) error {
	return p.Base.TimeoutNow(id, withIdentity(id, target), r, out)
}
