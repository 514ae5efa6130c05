// Package localcluster runs a cluster of real processes on this machine: servers and
// workers, each a child process of its own that can be killed, paused and started
// again. `rota dev`, `rota demo`, `rota bench --local` and the end-to-end tests use it.
//
// # Flow
//
// New chooses names, ports and data folders of a cluster, and keeps them in its folder. Start starts every
// process that does not run, and returns when the cluster serves. Each process is a
// Process, with a log file beside its data. Stop ends them in good order, workers
// first.
//
// # Trade-offs
//
// Ports are chosen below the range from which the system takes those of outgoing
// connections, so that a server that was killed finds its ports free when it comes
// back. Those that New chooses are given to no other cluster while this process runs
// (package ports). A layout that is taken up again may find its ports taken; Start
// tells, and a new layout helps.
//
// Processes die with this one, however it ends (package process).
package localcluster
