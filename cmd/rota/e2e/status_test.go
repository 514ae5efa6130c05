package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/internal/ports"
)

// Index 0 of a server that does not answer would mean that it has lost everything. Status shows the whole
// reason why it does not answer, because users have nothing else to look at.
func TestAServerThatDoesNotAnswerIsShownWithoutAnIndex(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	lost := c.followers()[0]
	row := func(table string) []string {
		for line := range strings.Lines(table) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == lost.Name {
				return f
			}
		}
		return nil
	}
	await(t, "its addresses", func() bool {
		f := row(c.status())
		return len(f) > 3 && f[3] == lost.Addr
	})
	lost.Kill()
	var status []string
	await(t, "the loss", func() bool {
		status = row(c.status())
		return len(status) > 1 && status[1] == "unreachable"
	})
	require.Len(t, status, 15)
	require.Equal(t, "-", status[6], "APPLIED of %v", status)

	var verify output
	await(t, "an answer of the others", func() bool {
		verify = c.rota("cluster", "verify")
		return verify.code == 1
	})
	digest := row(verify.stdout)
	require.Greater(t, len(digest), 3)
	require.Equal(t, "-", digest[1], "INDEX of %v", digest)
	require.NotContains(t, verify.stdout, "...")
}

// A cluster of one server and two that have joined without a vote looks replicated, and is not.
func TestAServerThatJoinsAClusterOfOneSaysWhyItHasNoVote(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1})
	ctx, cancel := context.WithTimeout(context.Background(), 2*within)
	defer cancel()
	var logs [2]safeBuffer
	for i := range logs {
		port, err := ports.Take(3)
		require.NoError(t, err)
		t.Cleanup(func() { ports.Release(port) })
		name := fmt.Sprint("joined-", i)
		cmd := c.command(ctx, "server", "start", "--node-id", name, "--data-dir", filepath.Join(c.dir, name), "--bootstrap-expect", "3",
			"--addr", ports.Loopback(port), "--peer-addr", ports.Loopback(port+1), "--http-addr", ports.Loopback(port+2), "--join", c.Addrs()[0])
		cmd.Stderr = &logs[i]
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
		})
	}
	var status jsonv1.Status
	await(t, "both servers", func() bool {
		status = parse[jsonv1.Status](t, c.status("-o", "json"))
		up := 0
		for _, s := range status.Servers {
			if s.State == "follower" {
				up++
			}
		}
		return up == 2
	})
	const why, way = "it has no vote: nobody has given it one, and it replaces no server that votes", "rota cluster add joined-"
	for _, s := range status.Servers {
		if !s.Voter {
			require.Contains(t, s.Problem, why)
			require.Contains(t, s.Problem, way)
		} else {
			require.Empty(t, s.Problem)
		}
	}
	await(t, "the reason below the table", func() bool {
		table := c.status()
		return strings.Contains(table, "; servers that answer: 3 of 3; voters: 1\n") && strings.Count(table, why) == 2 && strings.Count(table, way) == 2
	})
	for i := range logs {
		await(t, "its own log", func() bool { return strings.Contains(logs[i].String(), why) && strings.Contains(logs[i].String(), way) })
	}
}
