package leaks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { Main(m) }

func TestAGoroutineThatStaysIsFound(t *testing.T) {
	stop := make(chan struct{})
	go func() { <-stop }()
	err := wait(time.Millisecond)
	close(stop)
	require.ErrorContains(t, err, "TestAGoroutineThatStaysIsFound")
	require.NoError(t, wait(patience))
}

func TestAGoroutineThatIsSlowToEndIsWaitedFor(t *testing.T) {
	// Longer than goleak looks by itself.
	slow := time.NewTimer(2 * time.Second)
	go func() { <-slow.C }()
	require.NoError(t, wait(patience))
}
