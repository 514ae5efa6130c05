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
// What is kept of its output is in capture.go. probe.go tries whether a command can be started at all,
// for a worker that could not, oomkills.go finds out whether the kernel has killed one for want of
// memory, and secrets.go keeps what the agent knows from all of them.
//
// # Trade-offs
//
//   - Standard output is read through a pipe, not a file: programs see what they
//     expect, and what is too much of it is dropped from the middle (capture.go) instead
//     of filling a disk. A job can have it written to a file of its own (stdout.go).
//   - Commands run on Linux only, as package guard needs it. Elsewhere there is a Runner that refuses
//     them (elsewhere.go).
package command
