// Package process runs programs that must not outlive this process: servers and workers of local clusters,
// of the chaos suite and of benchmarks.
//
// # Flow
//
// A Process is a program that can be started, watched, paused, stopped, killed and started again. It appends
// what it writes to its log. Await waits for a condition, such as that a server is ready, and gives up once the
// process has ended; the error says how it ended, and has the end of its log. Kill and Stop are ends that are
// asked for; OnExit is told of all others, because a chaos run must tell the two apart.
//
// Start is for programs that run once and whose input or output the caller handles. Environ is what servers and
// workers get of the environment.
//
// # Trade-offs
//
// The kernel kills these programs when this process ends, however it ends (PR_SET_PDEATHSIG), so a crash
// leaves nothing behind. What they have started themselves must see to that for itself. Each has a process group of
// its own, so a signal from the terminal reaches this process only, which then ends the others in order.
package process
