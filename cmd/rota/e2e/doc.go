// Package e2e tests the program as users have it: real processes of the real binary,
// which are killed, paused, starved of disk and handed damaged files.
//
// # Flow
//
// TestMain builds the binary once. Each test lays out a cluster of its own (package
// localcluster), uses it through the command line or the SDK, and harms it. At its end
// the test kills everything, and fails if any process is left. Servers, workers, guards,
// commands and their children all have the cluster's TMPDIR in their environment, by
// which the test finds them in /proc.
//
// The examples of --help and the commands of the README run in shells with a network of their own,
// so that the ports that the texts name are free.
//
// # Knobs
//
//   - ROTA_E2E_FULL=1 hashes the whole source tree of Go instead of 1,500 files.
//   - ROTA_E2E_BINARY=/path tests that binary instead of one that is built here.
//   - ROTA_E2E_KEEP=1 keeps the folders of clusters of failed tests, with their logs,
//     which then end with the stacks of the servers.
//
// # Trade-offs
//
// Processes do not show their inner state, so tests poll conditions, each with a deadline.
// A test concludes something from a time only if the promise itself is about time; then
// the bound leaves room for a busy machine, and the test logs the measured time. Tests
// that need root (small file systems) are skipped without it.
package e2e
