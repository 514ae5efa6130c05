// Package web serves HTTP to people and their monitoring: whether this server is
// alive, whether it is ready, and its metrics.
//
// # Flow
//
// New returns a handler for one node. The handler keeps nothing between requests:
// each request asks the node, so an answer is never older than the question.
//
//	/livez    200 while the process answers at all
//	/readyz   200 while this server can serve: as a leader that is ready, or as a
//	          follower that hears from the leader and has had, since its start, all that
//	          the leader had at one time; otherwise 503 and the reason. With ?verbose
//	          all that was checked, and what else people should know
//	/metrics  Prometheus; the names are in metrics.go and in docs/metrics.md
//
// # Trade-offs
//
// Readiness is this server's own view and costs no other server anything. It is meant
// for load balancers and rolling restarts, not as a proof of leadership: a leader that
// was just cut off still calls itself ready until Raft tells it otherwise.
//
// This package never serves gRPC: both would have to share one HTTP/2 stack, and
// that of net/http halves the throughput of a task scheduler.
package web
