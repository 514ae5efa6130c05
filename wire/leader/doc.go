// Package leader finds the leader of a cluster, for clients and workers alike.
//
// # Flow
//
// A Finder knows the servers: those that it was given, and those that one of them has named last. A name
// that it was given may stand for several servers: it is looked up when the watch begins, and again when no
// known server answers (given.go).
// Watch keeps a stream to a server that does not lead, which announces each new leader: when a
// leader dies, its successor is found over a connection that is there already, without waiting for
// a timeout. What is announced goes to the Follower, which is the client or the worker. It knows
// which leader it follows, and what to do about another one: a client moves its calls, a worker its
// session. Where all others have failed, or none is known, the leader itself is watched, or asked now
// and then: it tells of servers that have come.
//
// # Terms
//
// Clients and workers follow the highest term that they have heard of. One server that claims a
// term which there never was would have them for good. So a claim that is far ahead of what is
// known, or behind it, makes the Finder ask all servers (terms.go). A claim that the watched server does
// not share within a second ends that watch, and the next one begins with what a server knows.
//
// # One cluster
//
// The addresses that somebody gives may be those of two clusters. Calls name them until a server
// has answered, and a server that does not know all of them refuses (package wire). Then the
// Finder asks each of the servers of which cluster it is (clusters.go).
//
// # Trade-offs
//
// What to do after a failed call is not here. A client picks a server for each call, and keeps away
// from a leader that failed one for a second. A worker has one stream, and goes from server to
// server until one welcomes it. They share the pauses between two attempts (Backoff).
package leader
