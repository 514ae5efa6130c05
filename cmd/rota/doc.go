// Command rota is Rota: servers, workers, and every verb to use them.
//
// # Flow
//
// main.go starts, app.go holds what all verbs share, root.go builds the tree of
// commands, and each group of verbs has a file of its own. Values come from flags,
// the environment, a file or the defaults by one mechanism (settings.go). A verb
// returns an error, and exit.go alone decides what that means for the exit code and
// what is said about it.
//
//	server.go                   server start
//	worker.go agent.go          worker start, list, get; handlers.go has the built-in handlers
//	run.go submit.go map.go     jobs from the command line; spec.go has their flags
//	job.go cluster.go           look at jobs and servers, and change them
//	dev.go demo.go bench.go     clusters of child processes (internal/localcluster)
//
// # Trade-offs
//
// Data goes to standard output and everything else to standard error, so that all
// verbs can stand in pipelines. JSON is made from types of its own (shapes.go):
// what scripts rely on must not change when a type of the SDK does.
package main
