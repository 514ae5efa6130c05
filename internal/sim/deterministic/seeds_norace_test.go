//go:build !race

package deterministic

// defaultSeeds is what a run of the test command takes on.
const defaultSeeds = 200
