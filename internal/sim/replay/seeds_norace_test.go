//go:build !race

package replay

// defaultSeeds is what a run of the test command takes on.
const defaultSeeds = 200
