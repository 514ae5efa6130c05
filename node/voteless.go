package node

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

// voteless says why a server has no vote, and what would give it one; "": it has one. A cluster of
// one server that two more have joined looks replicated, and is not. rec is what is recorded of the
// server, voters how many there are.
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
