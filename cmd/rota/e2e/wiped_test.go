package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// A server that lost its data folder is started as before and takes its place again. It
// votes only when it has caught up, so the cluster bears the loss of another one then.
func TestServerThatLostItsFolderTakesItsPlaceAgain(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	submits := submitLoops(2, "s", submitWith(c.client(), task.Spec{Handler: noHandler}))
	submits.more(t, 50)
	wiped := c.followers()[0]
	wiped.Kill()
	require.NoError(t, os.RemoveAll(c.dataDir(wiped)))
	submits.more(t, 50)
	c.restart(wiped)
	c.verify()
	await(t, "its vote", func() bool { return strings.Count(c.ok("cluster", "status", "-o", "json"), `"voter": true`) == 3 })
	// With the leader gone, this one is needed for a majority.
	leader := c.leader()
	leader.Kill()
	c.leader(leader)
	submits.more(t, 50)
	c.restart(leader)
	c.requireOnce(submits.halt(t))
	c.verify()
}
