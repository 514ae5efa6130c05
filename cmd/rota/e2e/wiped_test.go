package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/task"
)

// A server that was started by mistake gets no vote: with a vote it would count as lost when it is stopped.
func TestServerThatReplacesNobodyGetsNoVote(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	submits := submitLoops(1, "s", submitWith(c.client(), task.Spec{Handler: noHandler}))
	lost := c.followers()[0]
	lost.Kill()
	dir := filepath.Join(c.dir, "stray")
	port, err := ports.Take(3)
	require.NoError(t, err)
	t.Cleanup(func() { ports.Release(port) })
	at := func(i int) string { return ports.Loopback(port + i) }
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	stray := c.command(ctx, "server", "start", "--node-id", "stray", "--data-dir", dir, "--addr", at(0), "--peer-addr", at(1), "--http-addr", at(2),
		"--join", strings.Join(c.Addrs(), ","))
	require.NoError(t, stray.Start())
	status := func() string { return c.status("-o", "json") }
	await(t, "the stray server", func() bool { return strings.Contains(status(), `"voter": false`) })
	submits.more(t, 300)
	require.Equal(t, 3, strings.Count(status(), `"voter": true`))
	require.NoError(t, stray.Process.Kill())
	_ = stray.Wait() // it was killed
	submits.more(t, 50)
	c.requireOnce(submits.halt(t))
}

// A server that lost its data folder starts as before and takes its place again. It gets a vote
// once it has caught up. Then the cluster survives the loss of another server.
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
	await(t, "its vote", func() bool { return strings.Count(c.status("-o", "json"), `"voter": true`) == 3 })
	// Without the leader, the majority needs this server.
	leader := c.leader()
	leader.Kill()
	c.leader(leader)
	submits.more(t, 50)
	c.restart(leader)
	c.requireOnce(submits.halt(t))
	c.verify()
}
