// Package cluster simulates whole clusters: real servers in a bubble of virtual time.
//
// # Purpose
//
// A run starts servers (real raft, real proposer, leader and reads, a real state.db
// each), clients and workers, and a nemesis that loses messages, cuts links, crashes
// servers, takes their disks, pauses and kills workers. At the end everything is healed, every job has to
// come to its end, and what everybody saw is compared with what is recorded. Minutes
// pass in a second, so a test tries many seeds.
//
// # Flow
//
// Network carries every message, between servers (net_raft.go) and from clients and workers to them (Cluster.Call),
// and decides which are lost or late. The nemesis (net_nemesis.go) changes that from time to time. Clients and
// workers (workload*.go) do what the client and worker packages do when answers are lost: they try again, under the
// same request key or token. History (check.go) notes what they were told, and sim.Promises finds contradictions in
// it. At the end (check_final.go) the whole log, kept by each server's log store, is replayed through the reference
// model of package sim: every server, and everything that anybody was told, must agree with it.
//
// With the tag rotanext, the build knows a version of the log that clusters do not begin with. Then every server
// begins as an older build, the nemesis replaces servers, also back, and in the end all of them are of the newer
// build (upgrade.go). The version must not rise before all servers know it, must rise then, and must be the same on
// all servers at the same index. A server of an older build is one that says that it knows less: how a real one
// refuses what it does not know, only real processes show (cmd/rota/e2e/upgrade_test.go).
//
// # Trade-offs
//
// A seed decides what clients, workers and nemesis do. It does not decide the order of
// goroutines, so a run is not repeated exactly; a failing seed should be tried several
// times. Processes cannot be suspended in a bubble: workers pause by a gate in their
// own code, servers do not. Raft sends one message at a time to each follower here, and
// not a pipeline of them. TCP, the gRPC layer, and the worker's and the client's own code
// are not part of it: they are tested in their packages, and with real processes.
package cluster
