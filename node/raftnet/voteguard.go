package raftnet

import "github.com/hashicorp/raft"

// voteGuard is raft's transport of a server that asks for votes only if the others can find it.
//
// A server that was started at another address reaches the others, so it would win elections. They
// would then follow a leader whose address they do not know, and could send nobody on to it. So it
// asks for no votes until a leader has recorded its address (node/announce.go), or a majority of the
// voters has found it where it is (node/search.go).
type voteGuard struct {
	Base
	may func() bool
}

// RequestPreVote implements raft.WithPreVote. It returns a denial, because raft would log an error for
// each failure.
func (v voteGuard) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	if v.may() {
		return v.Base.RequestPreVote(id, target, r, out)
	}
	*out = raft.RequestPreVoteResponse{RPCHeader: r.RPCHeader, Term: r.Term}
	return nil
}

// RequestVote implements raft.Transport.
func (v voteGuard) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	if v.may() {
		return v.Base.RequestVote(id, target, r, out)
	}
	*out = raft.RequestVoteResponse{RPCHeader: r.RPCHeader, Term: r.Term}
	return nil
}
