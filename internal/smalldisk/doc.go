// Package smalldisk gives tests file systems that are soon full.
//
// # Flow
//
// A test begins with Elsewhere, which says whether the test has been run by another process, and then
// mounts what it needs. Where this process may mount, it does so itself.
//
// # Trade-offs
//
// Only root may mount, and what a full disk does is promised to everybody: a test that is not run by root is
// run once more, by a process that is root of a namespace of its own. Where that cannot be had either, the test
// fails, and says what is missing.
package smalldisk
