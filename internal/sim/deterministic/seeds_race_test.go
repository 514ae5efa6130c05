//go:build race

package deterministic

// defaultSeeds is fewer than without the race detector, which makes everything several times as
// slow and finds nothing in one goroutine.
const defaultSeeds = 40
