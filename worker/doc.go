// Package worker is the agent: it holds a session with the leader, runs the tasks
// that the leader assigns to it, and reports what became of them.
//
// # The way of one task
//
//	session.go   Assignments arrive on the stream of the session
//	board.go     what is not held already is queued, as ranges, not as tasks (span.go)
//	slot.go      a slot takes the next task and runs it
//	handler.go   ... as a Go function
//	command.go   ... as a program, which package command runs
//	outbox.go    the result joins a group of results that ended alike (group.go)
//	session.go   groups go out as Reports, and are kept until they are answered
//	board.go     what is answered is no longer held
//
// Beside it stand the leader that it follows (link.go, follow.go), the lease that
// exclusive tasks live under (lease.go), the identity in the data folder
// (identity.go) and the graceful end (worker.go).
//
// # What is held
//
// A task is held from the moment it arrives until its report is answered. That
// one definition serves three ends: an assignment that is sent again is known and
// ignored, also when its task has run already and only the answer is missing; a
// Hello names everything that the leader must not give away; and a Stop for a task
// that is not held is confirmed at once, for it certainly does not run here.
//
// # Leases
//
// Ordinary tasks go on without a leader: fencing tokens decide whose result
// counts. Exclusive tasks must not overlap with their next attempt, so they end
// before the lease does: asked to stop when 60 % of it has passed without renewal,
// killed at 80 %. The lease counts from the sending of the newest acknowledged
// beat that said it was for exclusive tasks, because only those are acknowledged
// by a leader that has made sure of its leadership after they arrived. The clock
// is CLOCK_BOOTTIME, which runs while the machine is suspended.
//
// # Guard and keepers
//
// An agent that was killed or paused can stop nothing, so other processes do: this binary,
// executed again. A keeper is the parent of each command, and a guard that of the keepers; package
// guard says what they do, and why.
//
// # Health
//
// What keeps the agent from starting any command (no file left, no memory, a full disk, no place
// for working directories) fails no task: tasks are given back, and the leader is told why this
// worker takes none until it can again (health.go).
//
// # Secrets
//
// Package command says what commands get of the environment, and what they can find out about the
// rest.
//
// # Trade-offs
//
//   - One lock guards the queue and the slots, another one the outbox; a task takes
//     each once. With no-op handlers that is far from being the bottleneck, and it
//     keeps every question ("queued, running or reported?") answerable in one place.
//   - Results are kept in memory only. An agent that is killed loses what it has
//     not reported; those tasks run again, as at-least-once execution allows.
//   - While slots have tasks in reserve, results gather for up to 100 ms or until they
//     are as many as those tasks (outbox.go). Short commands then cost the servers one
//     log entry for dozens instead of one each; nobody waits for what is held up,
//     because what others do wait for goes at once.
//   - A Go handler that ignores its context keeps its slot. If its task is
//     exclusive, the guard kills the whole agent when the lease demands it.
//   - The lease of exclusive tasks, the guard and the reaping of groups rest on Linux:
//     CLOCK_BOOTTIME, subreapers, death signals and /proc. On other systems a worker runs
//     ordinary handlers and refuses the rest (ErrLinuxOnly).
package worker
