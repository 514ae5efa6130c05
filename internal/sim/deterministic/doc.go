// Package deterministic simulates servers, workers and clients in one loop without goroutines,
// so that a seed decides everything that happens.
//
// # Purpose
//
// A failure that package cluster finds may not come back under its seed, because there goroutines decide too. Here
// only the seed decides, and the same seed gives the same history to the byte. It drives the real state machine,
// three replicas of it, the real Plan and the real leases. Raft, disks and connections are simulated, as far as they
// decide what comes to the log, when it is applied where, and what is forgotten in between. A minute of a busy
// cluster takes milliseconds, so a test tries hundreds of seeds.
//
// # Flow
//
// The world (world.go) is a queue of events in virtual time. A tenure (tenure.go,
// tenure_loops.go) is a leader: it puts what it is given into entries and steps
// scheduler.Allocator and Fleet.Lapsed. What it has in flight when it is deposed is lost, or
// comes to the log late (log.go); until it learns of it, it goes on planning from
// an old state. Replicas (replica.go) apply the log at their own pace, write flush batches to a
// disk in memory (disk.go), and are killed, restarted and installed from each other.
// Workers (worker.go, worker_run.go, link.go) run, fail, die, pause, and report late, twice
// and under old tokens. Clients (client.go) submit, append, cancel and repeat.
//
// # What is checked
//
// Each entry goes through the reference model of package sim as well: every result, every grant and stop that a
// replica tells of must be the model's, and the digests of replicas must be equal at equal index. The ledger
// (ledger.go, with sim.Promises) knows neither the machine nor the model: it compares what was granted, acknowledged
// and seen with the promises. At intervals, and at the end, everything readable is compared (check.go). The
// allocation loop must not be idle while the model knows of something to do, and must not find work by chance for
// which nobody woke it. At the end every task has an outcome, and when everything is forgotten, nothing is left.
//
// # Trade-offs
//
// The log is given: nothing here tests raft, the files, or the network layer, nor what goroutines can do to each
// other. What a seed does changes with every change of this package, so a regression that matters gets a test of its
// own beside its seed.
package deterministic
