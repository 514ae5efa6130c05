package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(ownNetwork) != "" {
		fmt.Fprintln(os.Stderr, enterNetwork())
		os.Exit(1)
	}
	os.Exit(program.Test(m, &binary))
}
