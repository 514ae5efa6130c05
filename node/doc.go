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
// # Flow
//
// Start: lock the folder, read or make the identity, open log and state, check them
// against each other (checks.go, checksnapshot.go), start raft, bootstrap or join
// (bootstrap.go).
//
// Propose puts an op in a lane; the proposer makes one entry of all that waits, with a
// few entries in flight and no timer (proposer.go). ApplyBatch hands committed entries
// to the machine (apply.go), each behind the one that it names (package raftlog).
//
// Gaining leadership means: Barrier, a full new lease for every session, the loops,
// then ready (leader.go). Losing it means: not ready, cancel, wait until all has ended.
//
// # Places
//
// Where servers are is a part of the state (addresses.go). A server tells the leader where
// it is (announce.go), and asks for no votes from anywhere else (raftnet/voteguard.go); the leader
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
