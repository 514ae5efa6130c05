// Package ticks runs loops at regular times until a context ends.
//
// # Trade-offs
//
// Every is for loops that do nothing else. A loop that also waits for a channel has its own ticker.
package ticks
