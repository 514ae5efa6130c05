//go:build race

package cluster

import "time"

// The race detector makes everything several times as slow.
const (
	defaultSeeds = 5
	chaosTime    = 45 * time.Second
)
