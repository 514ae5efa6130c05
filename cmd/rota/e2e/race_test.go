//go:build race

package e2e

// raceEnabled says that the tests run under the race detector. The processes of the
// clusters do not, but there is less left of the machine for them.
const raceEnabled = true
