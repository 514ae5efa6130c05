// Package scheduler allocates tasks to workers and keeps the leader's other loops.
//
// # Purpose
//
// Plan decides who gets what: a pure function of a view of the state and of what the
// leader knows of its workers (plan.go, policy.go). Fleet is that knowledge, which is
// in no log: who is connected, when each last beat, how long its tasks take
// (fleet.go). Loops turn both into proposals while this server leads (loops.go); what they
// decide is in Allocator, Fleet.Lapsed and Backstop, which neither wait nor propose (allocator.go,
// fleet.go, overdue.go).
//
// # Flow
//
// The machine wakes the fleet when there may be something to allocate. The allocation
// loop takes a view, plans, proposes the plan, waits until it is applied, and begins
// again: one plan in flight. Grants reach the workers not from the plan's answer but
// from the machine, which tells the fleet of each grant that it applied.
//
// # Who comes next
//
// Queues take turns, a chunk each to one worker, and the next plan goes on behind the queue that
// had the last turn; a queue that weighs more would have several chunks at its turn. Within a
// queue strict priority holds, then the order of submit, across classes: jobs that ask for the same
// of a worker. A class whose workers are full is passed over, since what comes behind it takes no
// room that it could use. Where a class has more than is shown, or than is tried at once, its
// workers are not for those behind it until the next plan. A small job that is placed with its
// submit (place.go) takes no worker that a job in line waits for. Exclusive tasks need a free slot, which
// what is fetched in advance would leave no time to come free: see planner.keepSlots.
//
// # How much a worker holds
//
// A worker that holds only as many tasks as it has slots idles for a round trip and
// a commit after each. So it may hold more: about as much as it works off in the next
// 200 ms, by the run times it reports, or the others where it has reported none yet; nothing
// for exclusive tasks, and nothing before anything is known. That bound is what decides
// throughput with short tasks, and it vanishes with long ones, which would only wait in the
// wrong place. What it gets at once is a share of what there is, and 5 ms of work or 2,048 tasks at
// least where the tasks of a job are known to be short (runs.go): each share costs a message and a
// report. Where tasks turn long after that, the worker gives back what it would not reach (worker:
// board.relieve). While nobody knows, a few hundred workers try the job first.
//
// # Who is not relied on
//
// Workers keep timeouts and stop what they are asked to. Backstop finds tasks of workers that beat
// and say nothing of them, long after they should have. A look is bounded, and goes round all
// sessions. Whether a task is late is decided by the machine; whether its worker is silent, busy with
// others, or about to report is known here only.
//
// # Trade-offs
//
// The package knows no raft: it is given a Proposer. A plan may be stale when it is
// applied; the state machine checks every limit again, so the worst is wasted work.
package scheduler
