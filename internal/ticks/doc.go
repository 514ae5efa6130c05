// Package ticks waits until a context ends: loops run at regular times, and single pauses.
//
// # Trade-offs
//
// Every is for loops that do nothing else. A loop that also waits for a channel has its own ticker.
package ticks
