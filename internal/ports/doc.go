// Package ports finds ports on the loopback interface for servers that come and go.
//
// # Purpose
//
// The servers of a cluster must know each other's addresses before any of them listens, and a
// server that was stopped comes back to its own. So ports are chosen first and opened later,
// and a port that looks free to one process looks free to all others, too: clusters of tests
// that run side by side have been given each other's ports.
//
// # Flow
//
// Take looks for ports on which nobody listens, and marks them with an open UDP socket of
// the first one's number. Whoever takes ports here finds the mark and looks elsewhere, in this
// process and in others. The mark stays until Release, or until the process ends, however it ends.
//
// # Trade-offs
//
// A mark costs a descriptor. Ports lie outside of the range from which the system gives ports to outgoing
// connections, one of which could take a server's while it is down; where that range leaves
// too few, they lie within. Programs that do not ask here are seen only where they listen already.
package ports
