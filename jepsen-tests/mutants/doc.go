// Package mutants breaks Rota on purpose, to show that the suite can fail: a mutant is one
// small change to the product that breaks one promise, and each must be caught by the check
// that is about that promise.
//
// # How
//
// The go command builds the binary with some files replaced (`-overlay`), so neither the
// work tree nor any release ever has the change. Each text that a mutant replaces must be
// there exactly once: when the product changes, a mutant that no longer applies is an error,
// not a mutant that was never tried. A test applies and type-checks
// all of them, without building any.
//
// A mutant brings the rate, the times and the server flags with which it is found within a
// few seeds. With the seed that found it the whole build must be valid, or the check would
// have shown nothing.
package mutants
