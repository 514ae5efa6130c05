// Package command runs tasks that are programs.
//
// # The way of one command
//
//	request.go      what to start: arguments, environment (environment.go), program and folder
//	scratch.go      the folder, where the job names none: one a slot, empty each time
//	stdout.go       where the standard output goes
//	pipes.go        the agent's ends of the standard files, and how they are read
//	runner.go       package guard starts it; how it ended is judged here
//	terminate.go    its end, where its context ends first
//	startfailure.go why it did not start, and what to do about that
//
// capture.go decides what is kept of the output. All of it goes to the task's log as well, for those who
// read along (package tasklog). probe.go tries to start a command, for a worker that
// could not start any. oomkills.go finds out whether the kernel has killed a command for lack of
// memory. secrets.go keeps from all commands what the agent knows.
//
// # Trade-offs
//
//   - Standard output is read through a pipe, not a file: programs see what they expect, and too much
//     output loses its middle (capture.go) instead of filling a disk. A job can have it written to a
//     file of its own (stdout.go).
//   - Commands run on Linux only, as package guard needs it. Elsewhere there is a Runner that refuses
//     them (elsewhere.go).
package command
