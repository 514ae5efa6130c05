// Package history is what a run did and saw: one Op for the start and one for the end of
// every request, fault and observation, in the order in which they happened.
//
// # Flow
//
// A Recorder numbers and times ops and writes each to a file before the caller goes on, so
// that a harness that is killed leaves all that it knew. Read reads such a file, WriteEDN
// turns a history into the form that Jepsen's own checkers (Knossos, Elle) read. What
// stands in Op.Value is fixed here too (values.go), for workloads write it and checkers
// read it, and those two meet nowhere else.
//
// # Outcomes
//
// `ok`: it happened. `fail`: it certainly did not happen, and never will. `info`: nobody
// knows, which includes every timeout and every loss of leadership. A client whose
// request ended with info goes on as another process, since the request may still take
// effect at any later time.
package history
