// Package suite runs one test: a cluster, a workload and a nemesis, from the first process
// to the verdict.
//
// # Phases
//
//	quiet     the load alone
//	faults    the nemesis works, until the time limit
//	heal      everything is made whole
//	recovery  until every server is ready and a submit was acknowledged, bounded
//	drain     the load has ended; until every job is final, bounded
//	final     the jobs and results of every server from its own state, all digests, the ledger
//	          of commands, the logs
//	check     by package checker, from the history alone
//
// What goes wrong in the cluster is for the checkers to say, so a phase that does not come to
// its end in time is noted and the next one begins. An error of Run is one of the harness.
//
// # Store
//
// A run has a folder of its own (store.go): history.jsonl, history.edn, results.json,
// report.html, the logs, and the data of the servers where the verdict is not valid.
package suite
