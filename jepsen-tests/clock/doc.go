// Package clock makes the wall clock of single processes jump.
//
// # How
//
// A process shares its machine's wall clock with all others: a static binary has no library to put in between, and
// the kernel's time namespaces leave this clock alone. So Build builds the product with one function of the standard
// library changed, time.Now, by the go command's `-overlay`. The function adds the number in a file that the process
// maps (the overlay folder has the code); nothing else changes. Neither the product's source nor the installed Go is
// touched. A Skew is that file, and changes while the process runs.
//
// # What is modelled
//
// The wall clock jumps, ahead or back; the monotonic clock goes on as the kernel's does when
// somebody sets the time. Timers, and differences of times that were taken in one process,
// must not notice.
//
// # Trade-offs
//
// It is another binary than the one under test, of the same source. So it needs the go
// command and that source; if there is none, `doctor` says so.
package clock
