// Command bench measures Rota and its peers side by side on this machine, and how
// Rota's throughput and memory behave as the work grows.
//
// # Flow
//
//	harness/      what a system and a workload are; interleaves runs; meters CPU and disk
//	systems/      Rota, NATS JetStream, River, asynq, Python's pools, xargs
//	rotacluster/  a cluster of real Rota processes
//	child/        child processes that end with this one
//	growth/       throughput and memory against backlog, history, workers, servers
//	catchup/      Apply while a large state is sent to a server that has lost its own
//	stats/        medians, percentiles, ratios
//	report/       the table, the JSON and the charts
//
// # Trade-offs
//
// A system is started afresh for each run, in an empty folder, and stopped after it:
// that costs seconds, but no run pays for what an earlier one left behind, and an
// idle system takes no CPU from the one that is measured. Rota is measured again
// before each run of each peer, so that the two runs of a pair are neighbours in
// time: disks and virtual machines drift by more than the systems differ.
//
// Peers are set up as their documentation says for durability, and for speed where
// that costs none. Where a peer has no counterpart of a workload, the nearest honest
// one is measured and named; if there is none, the report says so.
package main
