package node

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/node/raftnet"
)

// Measures is what a server measures of itself, for metrics. Counts begin with its start.
type Measures struct {
	// Apply is how long the state machine took for batches of entries, with the wait for state.db if too much has yet to be
	// written. Commit is how long entries took from this leader to their application. LogWrite and Flush are writes of the
	// log and of state.db, with their syncs.
	Apply, Commit, LogWrite, Flush latency.Reading
	// RaftApplied is the index up to which Raft has had entries applied, those included that the state machine does not see.
	RaftApplied uint64
	// RaftRefused counts what was refused on the Raft port.
	RaftRefused int64
	// LeaderChanges counts how often this server has heard of another leader, or of another term of the same one.
	LeaderChanges uint64
	// Snapshots counts snapshots that this server has taken. SnapshotIndex is the index of the newest one, 0: there is none.
	Snapshots     uint64
	SnapshotIndex uint64
	// DiskFree is the bytes that are left for the data folder. DiskFull: there is no space, or too little to take new jobs.
	DiskFree int64
	DiskFull bool
	// Voters is the servers with a vote.
	Voters int
	// Silent is, on a leader, for how long each other server has answered no heartbeat, by node id; 0: it has.
	Silent map[string]time.Duration
}

// Measure returns what the server measures of itself.
func (n *Node) Measure() Measures {
	at, _ := n.snapshots.Newest()
	out := Measures{
		Apply: n.applier.took.Read(), Commit: n.proposer.took.Read(), LogWrite: n.log.WriteLatency(), Flush: n.flusher.Latency(),
		RaftApplied: n.raft.AppliedIndex(), RaftRefused: n.transport.Refused(), LeaderChanges: n.leaders.changes.Load(),
		Snapshots: n.compaction.taken.Load(), SnapshotIndex: at.Index, DiskFree: n.space.free(), DiskFull: n.space.full(),
	}
	servers, err := n.directory.servers()
	if err != nil {
		return out // Raft is ending
	}
	leads, term := n.raft.State() == raft.Leader, n.Term()
	out.Silent = map[string]time.Duration{}
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			out.Voters++
		}
		if leads && s.ID != n.self.id {
			out.Silent[raftnet.NodeID(s.ID)] = n.transport.Silence(s.ID, term)
		}
	}
	return out
}
