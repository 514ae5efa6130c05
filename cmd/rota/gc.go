package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much an agent may allocate before its garbage is collected, in percent of
// what is live, which is a few MB: it would collect sixty times a second under short tasks.
// Servers keep Go's own 100, for what they keep is bounded, and users count on it.
const gcPercent = 300

// relaxGC sets that, unless the user has set GOGC. A bound set by GOMEMLIMIT holds as ever.
func relaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
