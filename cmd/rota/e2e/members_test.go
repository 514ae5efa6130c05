package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/task"
)

// member is a server that joins a cluster.
type member struct {
	c    *cluster
	name string
	args []string
	cmd  *exec.Cmd
	log  *safeBuffer
	// ended gets how its process has ended.
	ended chan error
}

// join starts a server that joins the cluster. The end of the test ends it.
func (c *cluster) join(name string) *member {
	c.t.Helper()
	port, err := ports.Take(3)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { ports.Release(port) })
	m := &member{c: c, name: name, args: []string{
		"server", "start", "--node-id", name, "--data-dir", filepath.Join(c.dir, name),
		"--addr", ports.Loopback(port), "--peer-addr", ports.Loopback(port + 1), "--http-addr", ports.Loopback(port + 2), "--join", strings.Join(c.Addrs(), ","),
	}}
	m.start()
	c.t.Cleanup(m.kill)
	return m
}

func (m *member) start() {
	m.c.t.Helper()
	m.log, m.ended = &safeBuffer{}, make(chan error, 1)
	m.cmd = m.c.command(context.Background(), m.args...)
	m.cmd.Stderr = m.log
	require.NoError(m.c.t, m.cmd.Start())
	cmd, ended := m.cmd, m.ended
	go func() { ended <- cmd.Wait() }()
	await(m.c.t, m.name+" joins", func() bool { _, known := m.c.server(m.name); return known })
}

func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	m.ended <- <-m.ended
}

// server is what cluster status says of a server.
func (c *cluster) server(name string) (jsonv1.Server, bool) {
	c.t.Helper()
	out := c.status("-o", "json")
	if out == "" {
		return jsonv1.Server{}, false
	}
	for _, s := range parse[jsonv1.Status](c.t, out).Servers {
		if s.ID == name {
			return s, true
		}
	}
	return jsonv1.Server{}, false
}

// requireRemoved requires that a server ends by itself, says why, and does not start again with its data.
func (m *member) requireRemoved() {
	m.c.t.Helper()
	var err error
	await(m.c.t, m.name+" ends", func() bool {
		select {
		case err = <-m.ended:
			m.ended <- err
			return true
		default:
			return false
		}
	})
	require.NoError(m.c.t, err, m.log.String())
	require.Contains(m.c.t, m.log.String(), "this server was removed from the cluster, and ends")
	again := m.c.rota(m.args...)
	require.Equal(m.c.t, 1, again.code)
	require.Contains(m.c.t, again.stderr, "was removed from its cluster")
	require.Contains(m.c.t, again.stderr, "move "+filepath.Join(m.c.dir, m.name)+" away")
}

// versioned waits until servers can be removed.
func (c *cluster) versioned() {
	c.t.Helper()
	await(c.t, "the version of the log", func() bool {
		out := c.status("-o", "json")
		return out != "" && parse[jsonv1.Status](c.t, out).ActiveVersion == task.Version
	})
}

// One server becomes three, five, three and one again under load. A leader is among those that leave.
func TestOneServerBecomesThreeFiveAndOneAgain(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1})
	c.versioned()
	load := submitLoops(2, "s", submitWith(c.client(), task.Spec{Handler: noHandler}))
	load.more(t, 50)
	var joined []*member
	for i := range 4 {
		m := c.join(fmt.Sprint("m", i))
		joined = append(joined, m)
		require.Contains(t, c.ok("cluster", "add", m.name, "--wait", within.String()), m.name+" has a vote")
		load.more(t, 20)
	}
	c.verifyServers(5)
	leads := joined[0]
	await(t, "leadership of "+leads.name, func() bool { return c.rota("cluster", "transfer-leader", leads.name).code == 0 })
	for i, m := range joined {
		require.Contains(t, c.ok("cluster", "remove", m.name), m.name+" is removed")
		m.requireRemoved()
		load.more(t, 20)
		if i == 1 { // of three
			require.Contains(t, c.ok("cluster", "demote", joined[2].name), "has no vote")
			load.more(t, 20)
			require.Contains(t, c.ok("cluster", "promote", joined[2].name), "has a vote")
			c.verifyServers(3)
		}
	}
	c.requireOnce(load.halt(t))
	c.verify()
}

// A machine is lost for good. A server of another name takes its place.
func TestADeadMachineIsReplacedUnderANewName(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	c.versioned()
	load := submitLoops(2, "s", submitWith(c.client(), task.Spec{Handler: noHandler}))
	load.more(t, 50)
	dead := c.leader()
	dead.Kill()
	leader := c.leader(dead)
	for _, s := range c.Servers {
		if s == dead || s == leader {
			continue
		}
		refused := c.rota("cluster", "remove", s.Name)
		require.Equal(t, 8, refused.code, "%s lives: %s", s.Name, refused.stderr)
		require.Contains(t, refused.stderr, "("+dead.Name+" ")
		require.Contains(t, refused.stderr, "--force")
	}
	await(t, "the removal", func() bool { return c.rota("cluster", "remove", dead.Name).code == 0 })
	m := c.join("fresh")
	c.ok("cluster", "add", m.name, "--wait", within.String())
	load.more(t, 50)
	// The machine turns up again.
	require.NoError(t, dead.Start())
	await(t, "the end of the old server", func() bool { return !dead.Running() })
	load.more(t, 20)
	_, known := c.server(dead.Name)
	require.False(t, known)
	require.NoError(t, os.RemoveAll(c.dataDir(dead)))
	require.NoError(t, dead.Start())
	await(t, "the new server", func() bool { s, known := c.server(dead.Name); return known && !s.Voter })
	c.requireOnce(load.halt(t))
}
