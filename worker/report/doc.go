// Package report keeps the results of tasks until a leader has answered for them.
//
// # Flow
//
//	result.go   how one attempt ended, as the worker that ran it says
//	group.go    results of one job that ended alike become one report group
//	outbox.go   groups become messages, and each message stays until it is answered
//
// A worker adds results from all of its slots. The goroutine that writes to the session's stream
// takes the next message when one may go, and the goroutine that reads from the stream settles it
// with the answer. A new stream starts again with everything that was not answered.
//
// # Bounds
//
// At most two messages are under way on a stream. A message closes at 256 KiB. When 64 MiB wait, the
// outbox is full and slots start nothing new: a worker that cannot reach the leader must not fill its
// memory with results.
//
// # Trade-offs
//
//   - Results are in memory only. A worker that is killed loses what it has not reported, and those
//     tasks run again. Execution is at least once, so that is allowed, and a sync for each result is
//     saved.
//   - While slots have more to do, results gather for up to 100 ms. Short commands then cost the
//     servers one log entry for dozens of them instead of one each. What others wait for goes at once.
package report
