package main

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much a worker may allocate before it collects garbage, in percent of its live memory.
// That is a few MB, so with Go's default of 100 it would collect sixty times a second while it runs short
// tasks. Servers keep the default: users rely on the bounds of their memory.
const gcPercent = 300

// relaxGC sets gcPercent, unless the user has set GOGC. GOMEMLIMIT still bounds the memory.
func relaxGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
