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
func (a peerIdentity) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return a.Base.AppendEntriesPipeline(id, withIdentity(id, target))
}

// AppendEntries implements raft.Transport.
func (a peerIdentity) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	return a.Base.AppendEntries(id, withIdentity(id, target), r, out)
}

// RequestVote implements raft.Transport.
func (a peerIdentity) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	return a.Base.RequestVote(id, withIdentity(id, target), r, out)
}

// RequestPreVote implements raft.WithPreVote.
func (a peerIdentity) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	return a.Base.RequestPreVote(id, withIdentity(id, target), r, out)
}

// InstallSnapshot implements raft.Transport.
func (a peerIdentity) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	return a.Base.InstallSnapshot(id, withIdentity(id, target), r, out, data)
}

// TimeoutNow implements raft.Transport.
func (a peerIdentity) TimeoutNow(id raft.ServerID, target raft.ServerAddress, r *raft.TimeoutNowRequest, out *raft.TimeoutNowResponse) error {
	return a.Base.TimeoutNow(id, withIdentity(id, target), r, out)
}
