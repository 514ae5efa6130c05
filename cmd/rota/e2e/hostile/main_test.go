package hostile

import (
	"fmt"
	"os"
	"testing"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	program.ForgetOtherClusters()
	dir, err := os.MkdirTemp("", "rota-hostile-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the binary:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary, err = program.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
