package e2e

import (
	"os"
	"testing"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Test(m, &binary)) }
