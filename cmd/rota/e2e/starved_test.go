package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

const (
	// starvedFor is how long no server is run: more than heartbeats come apart, and less than
	// the election timeout.
	starvedFor    = 300 * time.Millisecond
	starvedRounds = 10
)

// Servers that were not run for a while, as on a machine that is busy with something else, find
// their leader's messages when they are, and keep it: nobody was silent.
func TestServersThatWereNotRunKeepTheirLeader(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	cl := c.client()
	term := func() int {
		c.served()
		info, err := cl.Status(t.Context())
		require.NoError(t, err)
		return int(info.Term)
	}
	before := term()
	for range starvedRounds {
		for _, s := range c.Servers {
			require.NoError(t, s.Signal(syscall.SIGSTOP))
		}
		<-time.After(starvedFor) // what is tested
		for _, s := range c.Servers {
			require.NoError(t, s.Signal(syscall.SIGCONT))
		}
		c.served()
	}
	// A machine that is busy may keep them from running for longer.
	require.Less(t, term()-before, starvedRounds/2)
}
