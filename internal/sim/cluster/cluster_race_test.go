//go:build race

package cluster

import "time"

// The race detector makes everything several times as slow.
const (
	defaultSeeds = 6
	chaosTime    = time.Minute
)
