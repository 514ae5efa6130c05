//go:build !race

package cluster

import "time"

// What a run of the test command takes on.
const (
	defaultSeeds = 30
	chaosTime    = 2 * time.Minute
)
