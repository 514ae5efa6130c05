// Package hostile tests that no single peer can bring the servers down. Each case sends
// what no worker, client or server of Rota would send, and nothing else about it is special.
//
// # Flow
//
// A case has a file of its own:
//
//	func TestServersSurviveSomething(t *testing.T) {
//		t.Parallel()
//		h := start(t)
//		conn := h.Dial(h.Leader()) // plain gRPC; h.PeerAddrs and h.HTTPAddrs for other ports
//		...                        // be hostile, for a few seconds at most
//		h.Served(20)               // wait until polite clients have had that many more jobs
//	}
//
// start lays out three real servers and a worker (package localcluster), sets the kernel's limit
// on the memory of each server, and starts polite clients: they submit small jobs, wait
// for the results, and list jobs and workers, without a pause. When the test function has
// returned, the harness requires that
//
//   - no server has ended, by itself or because it had no more memory;
//   - polite clients had no error, and are still served;
//   - the servers' states have the same digest (rota cluster verify).
//
// The harness logs the peak of each server's memory. Restart starts a server again, which
// then reads its log under the same limit.
//
// # Knobs
//
//   - ROTA_E2E_BINARY=/path tests that binary: one of an older commit shows whether a case finds
//     what it is meant to.
//   - ROTA_E2E_KEEP=1 keeps the folders of clusters of failed tests, with their logs.
//
// # Trade-offs
//
// The limit is RLIMIT_DATA, which a server meets at the allocation that would pass
// it. Sampling would miss a peak, and Go's own limit only makes the collector busier. It counts
// private memory that the process has mapped, not that of files, and not what it has
// given back since.
package hostile
