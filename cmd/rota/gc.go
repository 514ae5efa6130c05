package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much may be allocated before garbage is collected, in percent of what is
// live. What a server or an agent keeps is small beside a machine's memory, and each collection
// has to look at the stacks of all its workers' connections: a leader of 2,000 idle ones has
// 12,000.
const gcPercent = 300

// relaxGC sets that, unless the user has set GOGC. A bound set by GOMEMLIMIT holds as ever.
func relaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
