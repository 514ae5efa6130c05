package node

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// votersAmong is how many servers of a configuration vote.
func votersAmong(servers []raft.Server) (n int) {
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// voteless says why a server has no vote, and what would give it one; "": it has one. A cluster of
// one with two servers that have joined looks replicated, and is not. rec is what is recorded of
// it, voters how many there are.
func voteless(s raft.Server, rec *logpb.ServerRecord, voters int) string {
	switch {
	case s.Suffrage == raft.Voter:
		return ""
	case rec == nil:
		return "it has no vote yet: it is not recorded yet what it has joined for"
	case rec.Vote:
		return "it has no vote yet: it is in the place of a server that had one, and gets it once it has caught up with the leader"
	}
	const why = "it has no vote: it joined a cluster that was made without it, and replaces no server that votes. It gets the log, " +
		"but nothing waits for it to be acknowledged, and it cannot lead. "
	if voters < 2 {
		return why + "The cluster has one voter and is lost with it: for more, make a new cluster, with empty data folders and the same --bootstrap-expect (3) on all servers"
	}
	return why + fmt.Sprintf("It gets a vote in the place of one of the %d voters that is down for good: start it with an empty data folder under the --node-id of that one", voters)
}

// tellVote says in the log that this server has no vote, and why, or that it votes now. said is what was
// told before.
func (n *Node) tellVote(said string) string {
	servers, err := n.Servers()
	if err != nil {
		return said
	}
	self, known := member(servers, n.id.raftID())
	rec := n.record(n.id.raftID())
	if !known || rec == nil {
		return said // it is about to hear more, or has left
	}
	why := voteless(self, rec, votersAmong(servers))
	switch {
	case why == said:
	case why == "":
		n.cfg.Logger.Info("this server has a vote now")
	default:
		n.cfg.Logger.Warn("this server has no vote", "why", why)
	}
	return why
}
