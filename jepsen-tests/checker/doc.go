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
//	S4  no result comes from a fenced attempt, and no late report is recorded
//	S5  fencing tokens are unique, held by one session, and rise with the attempts of a task
//	S6  the tasks of a serial job never overlap
//	S7  after an acknowledged cancel there is no new attempt
//	S8  attempts are numbered densely and bounded; one follows a failure, after its backoff,
//	    or the end of a lease
//	S11 reads and appends of one job are linearizable (Porcupine)
//	S12 stale reads never go behind what their session has seen
//	S13 streams resume without a gap, a duplicate or another order
//	S14 one leader a term; term, commit index and applied index of a process never go back
//	S15 equal digests at an equal index, and no broken invariant
//	S16 a wiped server has a new identity, no server votes twice, and none that was removed votes
//	S17 a definite failure has no effect
//	S18 outputs are what was put in; damage is repaired or refused, and never diverges
//	S19 submitted = the sum over all states, in one linearizable read
//	S20 no worker runs more than its slots, no job more than its max_parallel
//	S21 no panic, no data race, no exit that nothing excuses
//	S22 the version of the log never falls, rises no sooner than all servers know it, and in the end is what all know
//	S23 a backup has all that was acknowledged before it began, a cluster that is restored from it works, gives out no job
//	    id and no token that the one before or another restored one has, and refuses the cursors of the one before
//	L1  an acknowledged submit soon after each heal: within 2 s, 99 of a hundred, and always within the bound of the test
//	L2  nothing is stuck after the drain
//	L3  a majority serves while a minority is gone, and that one answers no linearizable read,
//	    and refuses soon
//	L4  a lasting fault of a minority, or of one direction, costs few elections and no service,
//	    and all work ends while it goes on
//	L5  what a silent worker held runs elsewhere within its lease and 2 s
//	L6  a full disk ends no server that does not say so, and each serves again afterwards
//	L7  goroutines, descriptors, heap and log come back to what they were
//	L8  what a worker beats for and never reports ends 15 s after its timeout, or after it was asked
//	    to stop, and 5 s; what is exclusive, when the worker's lease is over as well
//
// When they are built: S9 (dependencies), S10 (cron), S6 of concurrency keys, S16 of
// removed servers, and S20 of limits of queues.
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
