// Package guard is the processes that stand between an agent and the commands that it runs, and the
// agent's way to them: one guard, and a keeper for each command that runs at the same time. They are
// the agent's binary, executed again (main.go).
//
// # Purpose
//
// An agent that was killed or paused can stop nothing, and commands do what they like: they kill
// or stop whatever is above them, or move to a session of their own. So what watches over a
// command is not the agent, and it watches over nothing else.
//
// # Who does what
//
//	keeper   is the parent of one command at a time (keeper.go). It knows the command's process
//	         group from the fork on, and as a subreaper all that ever descends from it, in whatever
//	         session: orphans become its children. It ends what has to end with the command, at the
//	         agent's wish, at the deadline of exclusive work, or when the agent is gone.
//	guard    is the parent of the keepers (supervisor.go). It lets a keeper go on that a command has
//	         stopped, ends what is left of one that was killed, kills one that does not keep the
//	         deadline, and kills the agent where that runs exclusive handlers past it.
//	agent    sends commands to keepers, with the pipes to use, and asks guard and keepers for signs
//	         of life (client.go; remoteguard.go and remotekeeper.go are what it sees of them). Where
//	         neither does its duty, it kills the processes of a command itself.
//
// So a command that kills its parent is lost alone, and it is known which one it was. One that
// kills the guard loses nothing: what runs goes on, for each keeper listens to the agent, and the
// agent starts another guard. What they say to each other is in wire.go, and how guard and keepers
// keep deadlines in enforcement.go.
//
// # What ends with a command
//
// When a command ends, its process group is killed. What has left the group (setsid) is killed too
// where the command was exclusive, since the next one must not overlap with it, or where it was
// asked to end, because somebody wants it to stop. Otherwise it is a daemon that the command was to
// start: it goes on, and its keeper gets no other command, so that what descends from a keeper
// always descends from its one command.
//
// # Why not the agent
//
// Whoever starts a command must know its process group before the first instruction of its first
// process, or an agent that is killed at the wrong moment leaves processes that nobody knows. When
// the agent forks, it learns the group's number only when the process runs already. What could
// close that window has a price:
//
//   - PR_SET_PDEATHSIG reaches the direct child only, not what it has forked.
//   - A child that waits for a byte before it executes the command is another
//     program to load; this binary alone takes milliseconds.
//   - A child that is traced until it is registered loses the rights of setuid
//     programs, and tracing is often forbidden.
//   - A group made in advance, with a placeholder for its leader, is left by every
//     program that makes itself a leader, such as timeout(1).
//   - Control groups would do it where they are delegated to the worker, which they rarely are. A
//     mark in the environment is lost with the environment.
//
// # Trade-offs
//
//   - All of this is for Linux. Elsewhere there is a Client without a guard (elsewhere.go), so that
//     workers that run ordinary handlers build there.
//   - A keeper is 2 MiB of memory and ten threads, and takes 7 ms to start. It is kept for the next command, and let
//     go of when it has had none for a minute. An idle worker has none.
//   - The main thread of a keeper reads and forks in turns: handing each start from one
//     thread to another cost as much as all else that it does. A program on a file system
//     that hangs holds up what the agent says to this keeper meanwhile; deadlines are kept by
//     another thread.
//   - A command that kills its keeper and the guard in one moment is ended as far as its processes
//     are still in the keeper's session. One that kills the agent as well leaves what it has forked
//     behind. Nobody without privileges can prevent either.
package guard
