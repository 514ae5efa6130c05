// Package archtest checks that the packages keep to the house rules: who may
// import whom, what the state machine may refer to, how long a file may be, and
// that each package says what it is for.
//
// It is tests only. rules_test.go holds the rules as a table, and is the file to edit when there is a new package;
// load_test.go reads the repository; check_test.go compares the two and knows nothing of Rota, so that its own tests
// (selftest_test.go) can show it made-up packages that break each rule.
//
// Direct imports are read from every Go file, whatever its build constraints, so
// that a violation in a file for another system is found too. What a package links
// through others comes from `go list -deps`. Because the test itself opens every
// file it judges, the test cache notices each change.
//
// The linter (.golangci.yaml, depguard and forbidigo) shows the main rules in an
// editor; this package is what decides.
package archtest
