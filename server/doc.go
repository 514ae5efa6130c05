// Package server puts one server together from its rooms, starts it, and stops it.
//
// # Purpose
//
// A server is a node (raft and the state), its gRPC services and its HTTP pages, on three ports. The order in which these
// start and stop decides what clients, workers and other servers see of a restart. It is decided here, once: for the
// command, and for tests that run several servers in one process. What all connections of a server share, such as how they
// are secured, also has its one place here.
//
// # Flow
//
// Start opens all ports before it touches the data folder: a second server that was started by mistake gets
// no further (ports.go). Then the node starts, and the ports are served (server.go).
//
// A server may listen where nobody can connect to: on all addresses, behind NAT, or with mapped ports. So what others use
// is said apart from it (advertise.go). The node knows only that.
//
// Stop first says "not ready", so that no new clients come. Leadership goes to another server, streams end with a message
// to their peers, and calls that are under way get a moment to finish. Then the node stops, and HTTP last: /readyz answers
// until the end. Kill does none of this: it ends a server as a crash would, for tests (stop.go).
//
// # Trade-offs
//
// No handler outlives the gRPC server, nor does anything that a handler has started, so nobody uses a closed state. Each
// ends with the context of its call. If one does not, because a disk hangs, Stop waits for it only for a limited time.
package server
