// Package testcluster runs real servers and workers in one process, for tests: real
// raft, real files, real gRPC over loopback. Servers can be stopped in good order,
// killed, and started again on the same ports and folders.
package testcluster
