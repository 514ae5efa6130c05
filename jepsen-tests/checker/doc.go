// Package checker decides from a history alone whether a run kept the promises.
//
// # Flow
//
// Check indexes the history once (view.go), gives it to every checker, and sums up: one
// problem makes the run invalid; without one, what did not happen often enough to mean
// anything makes it unknown (vacuity.go). A checker bears the number of its invariant:
//
//	S1  an acknowledged submit is on every server; nothing unexpected is on any
//	S2  one request key, one job; another body under it is refused
//	S3  one final outcome a task, equal everywhere and at every time
//	S5  fencing tokens are unique, and rise with the attempts of a task
//	S6  the tasks of a serial job never overlap
//	S7  after an acknowledged cancel there is no new attempt
//	S11 reads and appends of one job are linearizable (Porcupine)
//	S13 streams resume without a gap, a duplicate or another order
//	S14 one leader a term
//	S15 equal digests at an equal index, and no broken invariant
//	S17 a definite failure has no effect
//	S19 submitted = the sum over all states, in one linearizable read
//	S21 no panic, no data race, no exit that nothing excuses
//	L1  an acknowledged submit soon after each heal
//	L2  nothing is stuck after the drain
//
// # Trade-offs
//
// Checkers see values of package history only: no client, no server, no clock. So a
// stored history can be checked again by a better checker, and each checker is tested by
// histories made by hand, good ones and bad ones, in testdata.
//
// A checker counts what it compared. A workload names the checkers that must have had
// something to compare, so that one that silently saw nothing makes its run unknown.
package checker
