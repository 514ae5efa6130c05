// Package operations runs the commands of docs/operations.md as they are written, on machines of their own.
//
// # Flow
//
// A block of the page that is marked sh begins with a comment that says where it runs: "# On the admin's machine:", "# On
// a.example:", "# On each server:". page_test.go reads the page. chapters_test.go has, for each chapter with such blocks, what must come
// of each block; a block that no chapter expects makes a test fail. The chapters run one after the other, on one cluster
// (package internal/machines): three servers, two workers, a spare machine and that of the administrator, each with an
// address, a file system and a systemd of its own. They are installed from the Debian package, as readers install them.
//
// # Trade-offs
//
// One test runs all chapters: a chapter goes on where the one before it has stopped, as for a reader. It needs root; without it
// the test is skipped, and says so. ssh and scp are stand-ins.
package operations
