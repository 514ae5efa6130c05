// Package dirlock gives a folder to one process at a time.
//
// # Flow
//
// Take takes the lock of a file in the folder or says that another process has it; Wait waits for that process.
// Whoever closes the file, or ends, lets go. A child that inherits the file holds the lock with its parent: that
// is how a worker's guard keeps the next worker waiting.
//
// # Trade-offs
//
// The lock is flock's, so the kernel releases it with the last process that has the file open, however that
// process ends. It binds only those who ask for it, and only processes of one machine. The file stays.
package dirlock
