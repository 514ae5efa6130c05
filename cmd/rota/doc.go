// Command rota is Rota: servers, workers, and every verb to use them.
//
// # Flow
//
// main.go starts the process. version.go knows which build it is. root.go builds the tree of commands. app.go has what all verbs share. Values come from
// flags, the environment, a file or the defaults, and settings.go alone decides which of them counts. A verb returns
// an error, and exit.go alone decides the exit code and the message.
//
//	run.go submit.go map.go       jobs from the command line; spec.go and array.go have their flags, conflict.go
//	                              explains a request key that another job has, collect.go prints their results, live.go
//	                              what they print, as it comes
//	job.go jobids.go task.go      look at jobs and tasks, wait for them, cancel and retry them
//	logs.go loglines.go           what commands print, while they run and after
//	worker.go agent.go            worker list, get, and start; handlers.go has the built-in handlers
//	cluster.go                    look at servers, compare their states, move the leader
//	members.go                    say which servers there are, and which of them vote
//	events.go                     what has happened in a cluster, and what happens
//	debug.go bundle.go            gather what is known of a cluster, for those who look for a fault
//	server.go                     server start
//	config.go                     check and show configuration files; configfile.go processfile.go read them
//	tls.go tlsshow.go tlsflags.go make certificates, show whose they are, and use them; tlsconfig.go writes files for that
//	token.go login.go             access tokens; contexts.go keeps clusters that people work with, credentials.go chooses
//	                              which credentials a command shows
//	snapshot.go restore.go        back a cluster up, make a new one from a backup or from one server that is left
//	dev.go                        a cluster of child processes (internal/localcluster)
//	demo.go demofiles.go          the tour; in demokill.go its leader is killed
//	bench.go benchreport.go       measurements
//
// What all of these use:
//
//	output.go json.go visible.go  print tables and JSON; no text of others controls the terminal
//	screen.go which.go            progress on standard error, and words that say which task is meant
//	complete.go suggest.go        help for shells, and for people who mistype
//	logging.go profiles.go gc.go notify.go  what servers and workers need as processes
//
// # Trade-offs
//
// Data goes to standard output and everything else to standard error, so that every verb can be a part of a pipeline.
// JSON has types of its own (package api/jsonv1): a change to a type of the SDK must not change what scripts read.
package main
