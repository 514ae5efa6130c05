// Package catchup measures what it costs a leader to send a large state to a server that
// has lost its own, over a slow link and under load.
//
// # Flow
//
// Three real servers, each a network host of its own, are filled until the leader's state.db
// is large; one follower is down meanwhile. Then jobs are submitted at an even pace, and the
// leader's Apply (rota_apply_seconds) and the submits are timed in phases: nothing else
// happens; a copy of state.db goes over the same link into a file; the follower comes
// back without its data, at the end of the link, until it votes and is ready; after that.
// At the end all three must have the same state, the leader must be the same, in the same
// term, and no process may have ended.
//
// # Trade-offs
//
// All servers share one machine and one disk, so the follower's writes are a load for the leader. The copy shows how
// much of the cost is due to that: it reads, sends and writes as many bytes at the same pace, and no server has a
// part in it.
package catchup
