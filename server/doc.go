// Package server puts one server together from its rooms, starts it, and stops it.
//
// # Purpose
//
// A server is a node (raft and the state), its gRPC services and its HTTP pages, on three ports. In which
// order these come up and go down decides what clients, workers and the other servers see of a restart. So
// it is decided here, once: for the command, and for tests that run several servers in one process. What
// all connections of a server share, such as how they are secured, has its one place here too.
//
// # Flow
//
// Start opens all ports before it touches the data folder: a second server that was started by mistake gets
// no further (ports.go). Then the node starts, and the ports are served (server.go).
//
// Stop says "not ready" first, so that nobody is sent here any more. Leadership goes to another server, streams
// end with a word to their peers, and calls that are under way get a moment to finish. Then the node stops,
// and HTTP last: /readyz answers until the end. Kill is none of this. It ends a server as a crash would, for
// tests (stop.go).
//
// # Trade-offs
//
// No handler outlives the gRPC server, nor anything that a handler has started, so nobody asks a state that is closed. Each
// of them ends with its call's context; one that does not, since a disk hangs, is waited for only so long.
package server
