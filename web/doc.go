// Package web serves HTTP to people and to their monitoring: whether this server is
// alive, whether it is ready, and its metrics.
//
// # Flow
//
// New returns a handler over one node. Nothing is kept up to date between requests:
// each one asks the node, so an answer is never older than the question.
//
//	/livez    200 while the process answers at all
//	/readyz   200 while this server can serve: as a leader that is ready, or as a
//	          follower that hears from one and, since its start, has had all that it
//	          had; 503 and the reason otherwise
//	/metrics  Prometheus; the names are in metrics.go
//
// # Trade-offs
//
// Readiness is this server's own view and costs nobody else anything. It is meant
// for load balancers and rolling restarts, not as proof of leadership: a leader that
// was cut off a moment ago still calls itself ready until Raft tells it otherwise.
//
// gRPC is never served from here: both would have to share one HTTP/2 stack, and
// that of net/http costs a task scheduler half its throughput.
package web
