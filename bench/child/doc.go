// Package child runs the processes of the peers: programs of this machine, and this
// program again in another role.
//
// # Flow
//
// Start starts a process and returns when it has said that it is ready: by a line on its standard output, or by a
// condition of the caller's. Stop asks it to end, and kills it if that takes too long. Serve is the other side, for
// this program in another role.
//
// # Trade-offs
//
// Ports are found by trying, and a program that knows nothing of package ports can take one before the child
// does: the child's log tells, Start returns ErrPortTaken, and package harness tries again with others.
//
// Children die with this process, however it ends (package process).
package child
