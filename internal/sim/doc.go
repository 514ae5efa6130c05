// Package sim holds what tests compare the system with, and what simulations of it share.
//
// # Purpose
//
// Load makes up what clients submit, and an AttemptKey the result of a worker's attempt. Promises compares
// everything that clients and workers are told with what they were told before, and in the end with the model. The
// two simulations (packages cluster and deterministic) each have an environment of their own, and check what only it
// can see.
//
// Model is a reference of the replicated state machine: the same ops with the same
// meaning, written so plainly that it can be checked by reading. It has a struct for
// each task, plain maps, and neither ranges, pages, indexes, disk nor locks. The
// model test of fsm/store applies the same random entries to it and to real
// machines, and every result and every readable fact must be equal.
//
// # Trade-offs
//
// The model is slow and keeps everything in memory, so it is of use in tests only. It shares with package fsm the
// messages of the log and the form of results, and with package task the limits and the backoff. Everything else is
// written a second time, on purpose.
package sim
