// Package e2e tests the program as users have it: real processes of the real binary,
// which are killed, paused, starved of disk and handed damaged files.
//
// # Flow
//
// TestMain builds the binary once. Each test lays out a cluster of its own (package
// localcluster), drives it through the command line or the SDK, and hurts it. At the
// end of each test everything is killed, and the test fails if any process is left:
// servers, workers, guards, commands and what those have started all carry the
// cluster's own TMPDIR in their environment, by which they are found in /proc.
//
// The examples of --help and the commands of the README are run in shells that have a network of
// their own, so that they find the ports free that the texts name.
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
// Processes tell nothing of their inside, so conditions are polled, with a deadline
// each. Nothing is concluded from how long something took unless the promise itself
// is about time; then the bound leaves room for a busy machine, and the measured time
// is logged. What needs root (small file systems) is skipped without it.
package e2e
