package worker

import (
	"time"

	"github.com/rota-scheduler/rota/worker/guard"
)

// bootNow is the clock of leases, which guard and keepers read too.
func bootNow() time.Duration { return guard.BootNow() }

var processStart = time.Now()

// monoNow is a cheap monotonic clock for run times and waits within this process.
func monoNow() time.Duration { return time.Since(processStart) }
