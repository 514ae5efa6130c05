// Package systems is what bench run can measure: Rota, and its peers.
//
// # Flow
//
// Each system starts its servers and two workers as processes of their own, and is its
// client from within this process; it does what harness.System asks for. Workers of the
// peers are this program again (Children), so that they do exactly the work that Rota's
// do: nothing, a hash, or giving back what came.
//
// # What stands for what
//
// Rota, NATS and River are asked for durable results: a task counts when its result is
// on disk. asynq gets the same from Redis with appendfsync always. Python's pools keep
// nothing, and are there to show what a scheduler without any promise does.
//
//   - NATS JetStream: three servers that sync each write. A work queue stream of three
//     replicas holds the tasks, another one the results. A worker publishes the result,
//     waits until it is stored, and only then acknowledges the task. Where tasks have no
//     result, the acknowledgement itself is confirmed (double ack).
//   - River: one PostgreSQL. Jobs are inserted with COPY, results are recorded as output,
//     and the client polls for them: other processes are not told.
//   - asynq: one Redis. Tasks are enqueued one by one, which is all there is, from many
//     goroutines; results are polled for.
//   - Python: a pool of two processes, with chunksize 1, so that each task is one.
//   - xargs: as many processes at once as Rota's workers run together.
//
// # Trade-offs
//
// Poll intervals of the peers are set far below their defaults (asynq looks each second
// for tasks, River each 100 ms), in their favour.
package systems
