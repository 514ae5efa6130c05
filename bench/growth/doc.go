// Package growth measures how Rota behaves as what it has to keep grows: its throughput
// against backlog, history, the size of a job, workers and servers, and what a task or a worker
// costs in memory, a restart and a snapshot.
//
// # Flow
//
// A Study has sizes. For each of them, in rounds, it starts a cluster of real processes,
// fills it, and measures one array of no-op tasks in it. Rounds go over all sizes before
// the next one begins, so that a disk that becomes slower does not look like growth.
//
// # Trade-offs
//
// Throughput is taken from the submit of a job to its last result, by the client's clock alone, after a smaller job
// has warmed everything up: connections and the adaptive number of outstanding tasks take a moment, which would
// weigh more in a shorter run. While the warm-up of the backlog's study ends, its workers already take from the
// backlog; how much of that is left at the end is reported. Memory is read from outside, as resident set and as Go's
// heap. The heap is measured in servers that collect garbage eagerly, because otherwise garbage would count as
// state.
package growth
