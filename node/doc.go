// Package node is one server: raft and its log, with the transport of package raftnet, and what
// makes of them a state machine that clients can rely on.
//
// # Purpose
//
// A Node owns the data folder, the raft instance and the state (package store). It
// proposes ops to the log, tells linearizable reads when they may read, runs the
// leader's loops while it leads, and refuses to start on data that is not its own or
// that would lose something.
//
// # Components
//
// Node itself only puts components together, starts and ends them (node.go, assemble.go), and is what the
// other packages call (api.go). Each component has a file, its own state, and small interfaces for what it uses
// of the others, so that it can be read, and tested, without them.
//
//   - Files: identity.go, checks.go and checksnapshot.go (what a start refuses), backup.go, rebuild.go and recover.go
//     (new clusters from backups and from what is left), space.go, compaction.go (snapshots, and how
//     much log is kept).
//   - The log: requests.go (what may enter it), proposer.go (entries), apply.go (what comes out of it), reads.go,
//     clock.go (the time that entries get).
//   - The leader: leaders.go (who leads), leader.go (what a leader does), handover.go and offer.go (how it gives its place up),
//     voters.go (what it asks the other voters), version.go (how the version of the log rises), watchdog.go.
//   - Servers: addresses.go (which there are, and where), whereabouts.go, search.go and meet.go (where they are if no record is
//     true), inquiry.go (how they are asked), bootstrap.go (how a new one becomes a
//     part of the cluster), announce.go (how it stays a part of it), catchup.go, membership.go, joins.go and tidy.go (what the leader
//     decides), changes.go (what operators change), quorum.go (which voter may go), steady.go (who has caught up and stayed so),
//     removed.go (how a server ends that was removed), voteless.go, peerinfo.go, self.go.
//
// # Flow
//
// Start: lock the folder, read or make the identity, open log and state, check them
// against each other, start raft, bootstrap or join.
//
// An op waits in a lane of the proposer. The proposer makes one entry of all that waits, with a
// few entries in flight and no timer. ApplyBatch hands committed entries
// to the machine, each behind the one that it names (package raftlog).
//
// Gaining leadership means: Barrier, a full new lease for every session, the loops,
// then ready. Losing it means: not ready, cancel, wait until all has ended.
//
// # Places
//
// Where servers are is a part of the state. A server tells the leader where
// it is, and asks for no votes from anywhere else (raftnet/voteguard.go). The leader
// asks back, and changes records and Raft's configuration.
//
// Without a leader nobody can do that, and all servers may have moved. Then they look for each other by their ids
// (search.go), tell each other where they are (meet.go), and a server that a majority finds may ask for votes. What
// they find counts until a record says something else (whereabouts.go). It is in no log, so it cannot be wrong for long.
//
// # Votes
//
// To join and to vote are two things. Whoever is started with the address of a server joins, and gets the log. Whether a
// server is to vote is a part of the state, beside its address: it was one of those that made the cluster, it has taken the place of a
// voter of its name, or an operator wants it so. The leader makes Raft's configuration agree with that.
//
// A removal is noted in the log first, and then made in Raft's configuration. A leader that is lost in between leaves
// the note to the next one. In the other order it would leave a server that is no member, does not know it, and
// joins again by itself.
//
// # Trade-offs
//
// A linearizable read waits for one Barrier issued after it came, shared by all that
// wait. VerifyLeader would be cheaper and is wrong: it counts answers sent
// before the read came, and a new leader's state machine may lack acknowledged writes.
//
// After a failed fsync the process exits and does not try again: nobody knows what the disk then
// holds. A disk that is full is another matter: nothing was written.
package node
