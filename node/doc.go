// Package node is one server: raft, its log and transport, and what makes of them a
// state machine that clients can rely on.
//
// # Purpose
//
// A Node owns the data folder, the raft instance and the state (package store). It
// proposes ops to the log, tells linearizable reads when they may read, runs the
// leader's loops while it leads, and refuses to start on data that is not its own or
// that would lose something.
//
// # Flow
//
// Start: lock the folder, read or make the identity, open log and state, check them
// against each other (checks.go, checksnapshot.go), start raft, bootstrap or join
// (bootstrap.go).
//
// Propose puts an op in a lane; the proposer makes one entry of all that waits, with a
// few entries in flight and no timer (proposer.go). ApplyBatch hands committed entries
// to the machine (apply.go), each behind the one that it names (chainedlog.go).
//
// Gaining leadership means: Barrier, a full new lease for every session, the loops,
// then ready (leader.go). Losing it means: not ready, cancel, wait until all has ended.
//
// # Raft's port
//
// What comes in goes through a door (door.go): each connection greets first, and says who
// speaks, to whom, and in which cluster (greeting.go). The gate lets in whom the latest
// configuration has, whom this server follows, and whom a server that is known here vouches
// for (gate.go, vouch.go): a follower that was away must hear a leader that it does not know,
// and a new server knows nobody. Then every length is checked before it is decoded, every
// term before raft takes it over (framing.go), and every entry before it is written
// (screen.go). What is refused has a line a minute and peer in the log (refusals.go).
//
// There is no TLS yet. Who reaches the port, and knows the ids of two servers, can pass for
// one of them: it can depose leaders, and have entries written that it made. It cannot use up
// terms or memory, nor have written what no server could read.
//
// # Places
//
// Where servers are is a part of the state (addresses.go). A server tells the leader where
// it is (announce.go), and asks for no votes from anywhere else (campaign.go); the leader
// asks back, and changes records and Raft's configuration (membership.go, tidy.go).
//
// # Trade-offs
//
// A linearizable read waits for one Barrier issued after it came, shared by all that
// wait (reads.go). VerifyLeader would be cheaper and is wrong: it counts answers sent
// before the read came, and a new leader's state machine may lack acknowledged writes.
//
// After a failed fsync the process exits and does not try again: what the disk then
// holds is not known. A disk that is full is another matter: nothing was written.
package node
