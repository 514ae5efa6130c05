package raftnet

import "github.com/hashicorp/raft"

// A server that was started at another address than the others know would win elections
// from there: it reaches them. They would follow a leader of whom they do not know where it
// is, and send nobody on to it. So it asks for no votes until a leader has recorded where
// it is (see node/announce.go). The others can elect one without it.

// voteGuard is raft's transport of a server that asks for votes only from where the others
// know it to be.
type voteGuard struct {
	Base
	may func() bool
}

// RequestPreVote implements raft.WithPreVote. A denial is what raft takes in its stride; it
// would log an error for each failure.
func (s voteGuard) RequestPreVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	if s.may() {
		return s.Base.RequestPreVote(id, target, r, out)
	}
	*out = raft.RequestPreVoteResponse{RPCHeader: r.RPCHeader, Term: r.Term}
	return nil
}

// RequestVote implements raft.Transport.
func (s voteGuard) RequestVote(id raft.ServerID, target raft.ServerAddress, r *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	if s.may() {
		return s.Base.RequestVote(id, target, r, out)
	}
	*out = raft.RequestVoteResponse{RPCHeader: r.RPCHeader, Term: r.Term}
	return nil
}
