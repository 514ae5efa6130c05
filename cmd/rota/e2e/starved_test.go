package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

const (
	// starvedFor is how long no server runs: longer than the time between two heartbeats, and
	// shorter than the election timeout.
	starvedFor    = 300 * time.Millisecond
	starvedRounds = 10
	// starvedTries is how often to try. A busy machine may keep servers from running for much
	// longer, and then it is right to elect another leader. Servers that cannot tell the two apart
	// elect one in each round of each try.
	starvedTries = 10
)

// Servers that did not run for a while, as on a machine that is busy with something else, find the
// messages of their leader when they run again, and keep it: it was not silent.
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
	starve := func() (elections int) {
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
		return term() - before
	}
	elections := starvedRounds
	for try := 0; try < starvedTries && elections >= starvedRounds/2; try++ {
		elections = starve()
		t.Logf("%d elections in %d rounds", elections, starvedRounds)
	}
	require.Less(t, elections, starvedRounds/2)
}
