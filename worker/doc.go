// Package worker is the agent: it holds a session with the leader, runs the tasks that the leader
// assigns to it, and reports how they ended.
//
// # The way of an assignment
//
//	leader ── stream ──▶ session.go          reads each message of the leader
//	                         │
//	                     assignment.go       a range of tasks stays one value, with its work
//	                         │               (work.go, keptworks.go)
//	                         ▼
//	                     heldtasks.go        keeps what is new (attempts.go), in a queue
//	                         │               (assignmentqueue.go)
//	                         ▼
//	                     taking.go           gives each free slot the next task
//	                         │
//	                     slot.go ─▶ run.go   runs it, as one of these:
//	                         │                 handler.go   a Go function
//	                         │                 command.go   a program, by package command
//	                         ▼
//	                     worker/report       gathers results, and keeps them until they are answered
//	                         │
//	leader ◀── stream ── session.go          sends reports, and releases what is answered
//
// A task may leave on the way: the leader stops it or its lease ends (stopping.go), or it goes back
// because it would wait here for too long (returning.go).
//
// # The rest of the package
//
//	attach.go         opens a stream, says hello and takes the welcome, until the worker ends
//	sessionstream.go  where that stream is, and where to open the next one
//	follow.go         moves the session to a new leader, of which package wire/leader hears
//	lease.go          when beats are due, and how long exclusive tasks may run
//	fence.go          ends exclusive tasks before their lease does
//	logstreams.go     streams to servers where somebody reads what commands print; logread.go answers a reader
//	health.go         what to do if nothing can be started
//	identity.go       who this worker is, in its data folder
//	worker.go         puts all of this together; stop.go takes it down
//
// # What is held
//
// A task is held from the moment it arrives until its report is answered. That one definition has
// three uses. The worker ignores an assignment that is sent again, even if its task has run already
// and only the answer is missing. A Hello names everything that the leader must not give to others.
// And the worker confirms at once a Stop for a task that it does not hold, because that task
// certainly does not run here.
//
// # Leases
//
// Ordinary tasks go on without a leader: fencing tokens decide whose result counts. Exclusive tasks
// must not overlap with their next attempt, so they end before the lease does. The worker asks them
// to stop when 60 % of the lease has passed without renewal, and kills them at 80 %. The lease counts
// from the time at which the worker sent the newest acknowledged beat for exclusive tasks. A leader
// acknowledges such a beat only after it has made sure that it still leads. The clock is
// CLOCK_BOOTTIME, which runs while the machine is suspended.
//
// # Guard and keepers
//
// A worker that was killed or paused can stop nothing, so other processes do: this binary, executed
// again. Each command has a keeper as its parent, and the keepers have a guard as theirs. Package
// guard says what they do, and why.
//
// # Health
//
// If the worker cannot start any command (no more files or memory, a full disk, no place for working
// directories), no task fails. The worker returns its tasks, and tells the leader why it takes none
// until it can again (health.go).
//
// # Secrets
//
// Package command says which part of the environment commands get, and what they can find out about
// the rest.
//
// # Trade-offs
//
//   - One lock guards queues and slots, and another one the outbox; a task takes each of them once.
//     Even with handlers that do nothing these locks are far from being the bottleneck, and every
//     question ("queued, running or reported?") is answered in one place.
//   - A Go handler that ignores its context keeps its slot. If its task is exclusive, the guard kills
//     the whole agent before the lease ends.
//   - The lease of exclusive tasks, the guard and the reaping of groups need Linux: CLOCK_BOOTTIME,
//     subreapers, death signals and /proc. On other systems a worker runs ordinary handlers and
//     refuses the rest (ErrLinuxOnly).
package worker
