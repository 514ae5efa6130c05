// Package report is the page about a run: one HTML file that needs nothing else, with the
// verdicts and their counterexamples, a plot of every call with the faults behind it and the
// leaders above it, and the command that runs the test again.
package report
