// Package transport serves gRPC: to clients, worker sessions, the cluster, and the other
// servers.
//
// # Purpose
//
// It turns requests into ops and records into answers, checks every input against its
// bounds before it proposes anything, and keeps the streams to workers. It decides nothing:
// the state machine and the scheduler do.
//
// # Flow
//
// Every server takes every call. A call that changes something goes to the leader: a follower
// forwards it once. While there is no leader the follower waits, with jitter, up to the
// caller's deadline (forward.go). A server answers a read itself, after it has
// made sure that its state is fresh enough (reads.go). Any server streams results:
// a stream keeps only a cursor (results.go). Lists come in pages, which are bounded by count
// and by bytes and cost what they show (lists.go).
//
// The leader serves a worker's Session. Attaching first directs the grants of the session to
// the stream, and then sends what the session holds according to the state machine. So a grant
// made in between is sent twice, and the worker recognises it by its token (session.go).
//
// What commands print comes from workers, on streams that they open where it is read (logs.go, logstreams.go).
//
// # Trade-offs
//
// Reports are acknowledged only when they are committed. They are proposed as they
// arrive, without waiting for earlier ones.
package transport
