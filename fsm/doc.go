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
// through leave and enter (job.go), which ask task.Legal and keep counts and digest.
// What an entry touched is settled once at its end (settle.go): job
// ends, ready indexes, digests, watchers.
//
// # Memory
//
// A job of n tasks is one record. Tasks are untouched until they are first
// granted, and cost nothing: they all are in the job's base state, and a frontier says which they are
// (frontier.go). Then they have a slot of 32 bytes in a page of 256. While one
// waits for its next attempt it has a timer, too, which is 85 bytes in all at most.
// Payloads, large specs and results stay in memory until they are on disk. The flusher (package
// store) takes a FlushBatch, a consistent picture of what changed since the last one,
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
// # Two structs
//
// What entries change is replicated (replicated.go). It is the same on all servers at the same index, apart from
// what each has flushed. The digest is made of it, and all that Apply decides by stands in it or is asked of History.
//
// What only the leader's scheduler needs is derived from it (derived.go): jobs in line by queue and class, timers,
// which workers are alike and who of them has a free slot. Every server keeps it up to date as it applies entries, so
// that a new leader need not build it. A server may throw it away and derive it anew, as it does when it loads a
// state. Servers may differ in it, because it depends on when each has looked at the time.
//
// A leader calls Advance (advance.go), which moves what is due in line and finds out who can run what waits, and then
// takes a View (view.go), which changes nothing. A View alone runs under the read lock. The leader takes both in one
// go, under the write lock (AdvanceAndView): otherwise each would wait for entries that are being applied, and an entry
// between the two could leave the queues that it changes for the next view. Entries wait for a view either way.
//
// # Trade-offs
//
// Followers pay for indexes that only a leader uses, so that a failover takes no longer with a million jobs. They do not
// pay for pools (pool.go), which only Advance makes. It finds out who accepts a class from the rarest thing that
// the class needs, and asks again only about workers of a kind that is new.
package fsm
