// Package scheduler allocates tasks to workers and runs the leader's other loops.
//
// # Purpose
//
// Plan decides which worker gets which task. It is a pure function of a view of the state
// and of what the leader knows about its workers (plan.go, policy.go). The Fleet is that
// knowledge, which is in no log: which workers are connected, when each sent its last beat,
// how long its tasks take (fleet.go). Loops turn both into proposals while this server
// leads (loops.go). Allocator, Fleet.Lapsed and Backstop decide what the loops propose; they
// neither wait nor propose (allocator.go, fleet.go, overdue.go).
//
// # Flow
//
// The machine wakes the fleet when there may be something to allocate. The allocation
// loop takes a view, plans, proposes the plan, waits until it is applied, and begins
// again: one plan is in flight. Workers do not get their grants from the answer to the plan
// but from the machine, which tells the fleet of each grant that it applied.
//
// # Which task comes next
//
// Queues take turns: each turn gives one worker a chunk of one queue. The queue that was served least
// recently comes first. What it is given puts it behind all others, so until a queue is served, each other
// one is given what it could have used once at most. A queue that cannot be served, because it
// waits for a free slot or for a worker, keeps its place and does not change the order of the
// others. New queues stand behind those that wait. The machine keeps this order (fsm/queue.go) on
// every server, so the next leader goes on with it. It is not stored. With weights, the order would be by
// what each queue has used, divided by its weight.
//
// Within a queue, priority decides first, and then the order of submit, across classes. (A class is the
// jobs that need the same things of a worker.) If all workers of a class are full, the plan passes
// over it, because the jobs behind it take no room that it could use. If
// a class has more tasks than the view shows, or than the plan tries at once, its workers take nothing
// from the classes behind it until the next plan. A small job that is placed with its submit
// (place.go) takes no worker that a waiting job needs. Exclusive tasks need a free slot, and a
// worker that fetches tasks in advance never has one: see planner.keepSlots.
//
// # How many tasks a worker holds
//
// A worker that holds only as many tasks as it has slots is idle for a round trip and a commit
// after each task. So it may hold more: about as much as it finishes in the next 200 ms. The
// estimate uses the run times that it reports, or those of other workers if it has reported
// none. A worker gets no exclusive task in advance, and no task whose run time nobody knows. That
// bound decides the throughput of short tasks. For long tasks it vanishes: they would only wait in
// the wrong place. A worker gets its share in one message; if the tasks of a job are known to be
// short, a share is at least 5 ms of work or 2,048 tasks (runs.go), because each share costs a
// message and a report. If tasks turn long after that, the worker gives back those that it would
// not reach (worker/returning.go). While nobody knows how long the tasks of a job take, a few
// hundred workers try it first.
//
// # Workers that are not relied on
//
// Workers keep timeouts and stop tasks when they are asked to. Backstop finds tasks of workers that
// send beats and say nothing of these tasks long after they should have. Each look is bounded,
// and the looks go round all sessions. The machine decides whether a task is late. Only this package
// knows whether the worker is silent, busy with others, or about to report.
//
// # Trade-offs
//
// The package knows no raft: it is given a Proposer. A plan may be stale when it is
// applied. The state machine checks every limit again, so the worst result is wasted work.
package scheduler
