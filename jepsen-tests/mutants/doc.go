// Package mutants breaks Rota on purpose, to show that the suite can fail: a mutant is one
// small change to the product that breaks one promise, and each must be caught by the check
// that is about that promise.
//
// # How
//
// The go command builds the binary with one file replaced (`-overlay`), so neither the work
// tree nor any release ever has the change. The text that a mutant replaces must be there
// exactly once: when the product changes, a mutant that no longer applies is an error, not
// a mutant that was never tried.
package mutants
