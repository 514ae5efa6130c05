// Package harness says what a system and a workload are, runs systems in turns, and
// meters what a run costs.
//
// # Flow
//
// Plan makes the order of the runs: each peer is preceded by the subject, so that a
// pair of runs is close in time. Measure starts a system in a folder of its own, warms
// it up, lets the disks come to rest, runs the workload between two readings of the
// meters, verifies, and stops the system.
//
// # Trade-offs
//
// Payloads are made from their number, and results can be recomputed from it, so
// nothing has to be kept to check that each task ran with its own payload and that
// each result came.
package harness
