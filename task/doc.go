// Package task holds the words of Rota: jobs, tasks, their states and the table
// of legal transitions, limits, and errors. Every other package speaks them; this
// one imports the standard library only.
package task
