package node

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// voteless says why a server has no vote, and what would give it one; "": it has one. A cluster of
// one server that two more have joined looks replicated, and is not. rec is what is recorded of the
// server, voters how many there are.
func voteless(s raft.Server, rec *logpb.ServerRecord, voters int) string {
	nodeID := raftnet.NodeID(s.ID)
	switch {
	case s.Suffrage == raft.Voter:
		return ""
	case rec == nil:
		return "it has no vote yet: it is not recorded yet what it has joined for"
	case rec.Vote:
		return fmt.Sprintf("it has no vote yet: it gets one once it has caught up with the leader, and stayed so for %v", steadyFor)
	}
	why := "it has no vote: nobody has given it one, and it replaces no server that votes. It gets the log, but nothing waits for it to be " +
		"acknowledged, and it cannot lead. rota cluster add " + nodeID + " gives it a vote"
	if voters < 2 {
		return why + ". Until then the cluster has one voter, and is lost with it"
	}
	return why + fmt.Sprintf(". If it is to take the place of one of the %d voters that is down for good, start it with an empty data folder under the --node-id of that one", voters)
}
