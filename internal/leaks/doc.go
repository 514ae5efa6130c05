// Package leaks fails the tests of a package that leave goroutines behind.
//
// # Flow
//
// TestMain of a package calls Main, which runs its tests and then waits until no goroutine is left
// that a test began.
//
// # Trade-offs
//
// goleak by itself looks for less than a second. On a machine whose cores are shared by the tests of
// many packages, what has been told to stop may need longer to do so. A goroutine that leaks stays, so
// that it is found after half a minute as well, and only a package that fails waits that long.
package leaks
