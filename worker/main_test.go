//go:build linux

package worker

import (
	"os"
	"testing"

	"github.com/rota-scheduler/rota/internal/leaks"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(testAgentEnv); addr != "" {
		testAgent(addr)
		return
	}
	// A race detector waits a second at the end of each process, and every guard is one.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	leaks.Main(m)
}
