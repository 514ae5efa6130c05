package leaks

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that tests have left may take to end.
const patience = 30 * time.Second

// Main runs the tests of a package and ends the process: with 1 where they leave goroutines behind.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := wait(patience); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// wait returns once no goroutine is left, or what is left after the limit.
func wait(limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		err := goleak.Find()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
