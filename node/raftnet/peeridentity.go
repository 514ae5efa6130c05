package raftnet

import (
	"io"
	"strings"

	"github.com/hashicorp/raft"
)

// addressMark stands between an address and an id, where raft's transport knows of
// addresses only. No address contains it.
const addressMark = "#"

var _ Base = pipelined{}

// addressed is raft's transport, with the id of a server as a part of its address: raft finds
// a server by its address alone.
type addressed struct {
	Base
}

func addressOf(id raft.ServerID, target raft.ServerAddress) raft.ServerAddress {
	return target + addressMark + raft.ServerAddress(id)
}

// splitAddress is the inverse of addressOf.
func splitAddress(addr raft.ServerAddress) (target string, id raft.ServerID) {
	target, meant, _ := strings.Cut(string(addr), addressMark)
	return target, raft.ServerID(meant)
}

// AppendEntriesPipeline implements raft.Transport.
func (a addressed) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return a.Base.AppendEntriesPipeline(id, addressOf(id, target))
}

// AppendEntries implements raft.Transport.
func (a addressed) AppendEntries(id raft.ServerID, target raft.ServerAddress, r *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	return a.Base.AppendEntries(id, addressOf(id, target), r, out)
}

// RequestVote implements raft.Transport.
func (a addressed) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	return a.Base.RequestVote(id, addressOf(id, target), r, out)
}

// RequestPreVote implements raft.WithPreVote.
func (a addressed) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	return a.Base.RequestPreVote(id, addressOf(id, target), r, out)
}

// InstallSnapshot implements raft.Transport.
func (a addressed) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, r *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	return a.Base.InstallSnapshot(id, addressOf(id, target), r, out, data)
}

// TimeoutNow implements raft.Transport.
func (a addressed) TimeoutNow(id raft.ServerID, target raft.ServerAddress, r *raft.TimeoutNowRequest, out *raft.TimeoutNowResponse) error {
	return a.Base.TimeoutNow(id, addressOf(id, target), r, out)
}
