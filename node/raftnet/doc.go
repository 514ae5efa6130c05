// Package raftnet carries raft's messages between servers.
//
// # Purpose
//
// A Transport is what raft is made with. It says who a server is, lets in servers of the cluster
// and no others, bounds what they send, and corrects what raft does where a server is slow,
// away, or not run.
//
// # Flow
//
// What comes in goes through a door (door.go): each connection greets first, and says who
// speaks, to whom, and in which cluster (greeting.go). The gate lets in whom the latest
// configuration has, whom this server follows, and whom a server that is known here vouches
// for (gate.go, vouch.go): a follower that was away must hear a leader that it does not know,
// and a new server knows nobody. Then every length is checked before it is decoded, every
// term before raft takes it over (framing.go), and every entry before it is written
// (screen.go). What is refused has a line a minute and peer in the log (refusals.go).
//
// # Trade-offs
//
// There is no TLS yet. Who reaches the port, and knows the ids of two servers, can pass for
// one of them: it can depose leaders, and have entries written that it made. It cannot use up
// terms or memory, nor have written what no server could read.
package raftnet
