// Package workload is what clients do to a cluster while it is harmed.
//
// # Flow
//
// Each client runs one Step after the other, at a rate. A step calls the cluster, by the
// SDK or by a single request to one server, and the call is recorded before it is sent and
// when it has ended (call.go). A client whose call ended without anybody knowing how goes
// on as another process. When the load has ended, End brings what is open to its end, so
// that the drain can be complete.
//
// # Outcomes
//
// The kind of an error decides between fail and info: what the servers call a definite failure is one, and S17
// checks that. Whatever ran out of time is info, even if the SDK is sure that nothing was sent.
//
// # Workers of its own
//
// agents.go and line.go are workers that speak the protocol themselves, so that they can do
// what no honest worker does; watch.go asks servers beside the load.
package workload
