// Package fsm is the replicated state machine: the heart of Rota.
//
// # Purpose
//
// A Machine holds the jobs, tasks, sessions and request keys of a cluster and
// changes them only by applying log entries. Every server applies the same
// entries in the same order and so holds the same state; nothing in here reads a
// clock, the network, the environment, random numbers or the order of a map.
//
// # Flow
//
// Apply decodes an Entry and applies its ops one by one (submit.go, plan.go,
// report.go, cancel.go, overdue.go, session.go, collect.go, server.go). What one of them has to do
// for all tasks of a large job is spread over entries (sweep.go). An op first finds out what it
// would change, then changes it; an item that does not fit gets an error of its
// own in the Result and leaves its neighbours alone. Every change of a task goes
// through job.set, which asks task.Legal and keeps counts, digest and dirty
// marks. What an entry touched is settled once at its end (settle.go): job
// ends, ready indexes, digests, watchers.
//
// # Memory
//
// A job of n tasks is one record. Tasks are untouched until they are first
// granted, and cost nothing: they all are in the job's base state, and a frontier says which they are
// (frontier.go). Then they have a slot of 32 bytes in a page of 256. While one
// waits for its next attempt it has a timer, too, which is 85 bytes in all at most.
// Payloads, large specs and results stay in memory until they are on disk. The flusher (package
// store) takes a Cut, a consistent picture of what changed since the last one,
// writes it, and calls Flushed, which forgets what is safely on disk: payloads,
// specs, results, pages whose tasks are all final, finished jobs, request keys. Memory
// follows live work, not history.
//
// # Reading what has left memory
//
// Apply sometimes must know about the past: whether a request key was used, what
// token a finished task had. It asks History, which reads state.db. What History
// answers does not depend on when this server flushed, because memory is always
// asked first and is forgotten only after the commit.
//
// # Versions
//
// What an op does depends on the active version of the log, which is replicated (version.go), and on
// nothing that differs between builds: constants are read from rules (rules.go).
//
// # Trade-offs
//
// Indexes that only the leader's scheduler needs (jobs in line by queue and class, timers, what
// sessions have in common, who of them has a free slot) are kept on every server, so that a new
// leader need not build them; they are derived and are in no digest. Which abilities accept a
// class is found out by views: from the rarest thing that it needs, and again where workers have come of a
// kind that there was not.
package fsm
