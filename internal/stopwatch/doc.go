// Package stopwatch says for how long something has been under way.
//
// # Purpose
//
// What watches a disk, an entry of the log or the state machine for a stall asks for how long it has been
// busy, from another goroutine, while nobody waits for the other.
//
// # Trade-offs
//
// It keeps one moment, so it is for one thing at a time.
package stopwatch
