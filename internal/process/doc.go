// Package process starts programs that must not outlive this process: servers and workers of local
// clusters, of the chaos suite and of benchmarks.
//
// # Flow
//
// Start puts a program into a process group of its own, so that a signal from the terminal does
// not reach it, and has the kernel kill it when this process ends, however it ends. Environ is what
// such a program gets of the environment.
//
// # Trade-offs
//
// How a program is watched and stopped is up to those who start it: a chaos run must tell an end
// that it asked for from another one, and a benchmark waits for other signs of being ready.
package process
