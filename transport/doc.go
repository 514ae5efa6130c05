// Package transport serves gRPC: clients, worker sessions, the cluster, and the other
// servers.
//
// # Purpose
//
// It turns requests into ops and records into answers, checks every input against its
// bounds before anything is proposed, and keeps the streams to workers. What is
// decided is decided elsewhere: by the state machine and by the scheduler.
//
// # Flow
//
// Every server takes every call. What changes something goes to the leader: a follower
// forwards it once, or waits, with jitter, while there is none, up to the caller's
// deadline (forward.go). Reads are answered where they arrive, after the server has
// made sure that its state is fresh enough (reads.go). Results are streamed by any
// server: a stream holds nothing but a cursor (results.go). Lists come in pages that are
// bounded by count and by bytes, and cost what they show (lists.go).
//
// A worker's Session is served by the leader. Attaching first makes the stream the way
// to the session, then sends what the session holds by the state machine: a grant made
// in between is sent twice, and the worker knows it by its token (session.go).
//
// # Trade-offs
//
// Reports are acknowledged only when they are committed; they are proposed as they
// come, without waiting for the ones before.
package transport
