// Package nemesis harms a cluster, and makes it whole again.
//
// # Flow
//
// A Fault is named in catalogue.go with what it needs of the machine. Run waits, injects
// one, lets it work, heals it, and goes on until its context ends; it notes the start and
// the end of each with what the fault really did (packets dropped, writes lost, processes
// that went down), because a fault without an effect is no test. The end is always whole:
// also a run that is interrupted heals.
//
// # What a fault demands
//
// Most faults demand nothing: what a cluster must do meanwhile is for the checkers. Some are
// about what one server must do, within a time: end after a failed write, lose its place
// when its disk hangs, refuse damaged files or serve what the others do, come back as a new
// server. What does not come in its time is noted as an exit that nothing excuses, which
// S21 reports.
//
// Two faults are workers of this package's own, which speak the protocol: one that reports what it does not
// hold, and some that hold what they do not report (puppet.go). Those have jobs of their own, which are in the
// history as those of clients are.
//
// # Repeating
//
// All choices come from one seed. What they meet does not: processes and the kernel keep
// their own time. The same seed gives the same faults in the same order against what
// happens to be leader then.
package nemesis
