//go:build linux

package guard

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A process that cannot be killed, because it hangs on a file system that does not answer, was once searched for
// among all processes of the machine two hundred times a second.
func TestWhatCannotBeKilledIsLookedAtSeldom(t *testing.T) {
	t.Parallel()
	looks := 0
	for waited := dyingPause(0); waited < 60*manyLooks*dyingTick; looks++ {
		waited += dyingPause(looks)
	}
	require.Equal(t, dyingTick, dyingPause(0), "most ends are a matter of milliseconds")
	require.Less(t, looks, 3*manyLooks, "in a minute")
}
