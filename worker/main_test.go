package worker

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(testAgentEnv); addr != "" {
		testAgent(addr)
		return
	}
	goleak.VerifyTestMain(m)
}
