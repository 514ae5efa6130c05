package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// acknowledged is what was acknowledged until now.
func (s *submitter) acknowledged() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ids)
}

// readAll reads the results of a job to its end, and returns the cursor behind each, and the highest token.
func readAll(ctx context.Context, t *testing.T, job *client.Job) (cursors [][]byte, token uint64) {
	t.Helper()
	for r, err := range job.AsCompleted(ctx) {
		require.NoError(t, err)
		cursors, token = append(cursors, r.Cursor()), max(token, r.Token)
	}
	require.NotEmpty(t, cursors)
	return cursors, token
}

// requireKept requires that all jobs that were acknowledged are there.
func (c *cluster) requireKept(acknowledged map[string]uint64) {
	c.t.Helper()
	found := map[string]uint64{}
	for _, j := range c.list() {
		found[j.Key] = j.ID
	}
	for key, id := range acknowledged {
		require.Equal(c.t, id, found[key], "the job of key %s", key)
	}
}

// goesOn starts the first server of a new cluster, then the others, with empty folders.
func (c *cluster) goesOn(first *localcluster.Process) {
	c.t.Helper()
	for _, s := range c.Servers {
		if s != first {
			require.NoError(c.t, os.RemoveAll(c.dataDir(s)))
		}
	}
	c.restart(first)
	for _, s := range c.Servers {
		if s != first {
			c.restart(s)
		}
	}
}

// growsUnderLoad gives votes to the others of a new cluster while clients submit, and kills its leader then.
func (c *cluster) growsUnderLoad(first *localcluster.Process) {
	c.t.Helper()
	submits := submitLoops(2, "new", submitWith(c.client(), task.Spec{Command: []string{"true"}}))
	for _, s := range c.Servers {
		if s != first {
			c.ok("cluster", "add", s.Name, "--wait", within.String())
		}
	}
	submits.more(c.t, 20)
	leader := c.leader()
	leader.Kill()
	submits.more(c.t, 20)
	c.restart(leader)
	submits.more(c.t, 20)
	c.requireKept(submits.halt(c.t))
}

// All machines are lost, and what is left is a backup.
func TestAClusterComesBackFromABackup(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4, ServerFlags: []string{"--lease-timeout", shortLease.String()}})
	cl := c.client()
	ctx, cancel := context.WithTimeout(context.Background(), 4*within)
	defer cancel()
	gate, open := c.gate()
	long := c.submit("--", "sh", "-c", waitForFile, "sh", gate)
	await(t, "a running task", func() bool { return len(processes(c.mark(), "ROTA_JOB_ID="+number(long))) > 0 })

	submits := submitLoops(2, "s", submitWith(cl, task.Spec{Command: []string{"true"}}))
	submits.more(t, 20)
	early, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Command: []string{"true"}}, Count: 5})
	require.NoError(t, err)
	cursors, _ := readAll(ctx, t, early)
	before := submits.acknowledged()
	file := filepath.Join(c.dir, "rota.backup")
	saved := parse[jsonv1.Snapshot](t, c.ok("cluster", "snapshot", "save", file, "-o", "json"))
	require.GreaterOrEqual(t, saved.Jobs, uint64(len(before)))
	submits.more(t, 20)
	all := submits.halt(t)
	last, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Command: []string{"true"}}, Count: 5})
	require.NoError(t, err)
	_, token := readAll(ctx, t, last)

	killAtOnce(c.Servers...)
	first := c.Servers[0]
	require.NoError(t, os.RemoveAll(c.dataDir(first)))
	made := parse[jsonv1.NewCluster](t, c.ok("cluster", "snapshot", "restore", file, "--data-dir", c.dataDir(first),
		"--node-id", first.Name, "--peer-addr", first.PeerAddr, "-o", "json"))
	require.Equal(t, saved.ClusterID, made.FromCluster)
	c.goesOn(first)
	cl = c.client()

	c.requireKept(before)
	// The worker that ran it all the while goes on with it.
	open()
	ended := c.ok("job", "wait", number(long), "--wait-timeout", within.String(), "-o", "json")
	require.Contains(t, ended, "succeeded")
	again, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Command: []string{"true"}}, Count: 5})
	require.NoError(t, err)
	for _, id := range all {
		require.Greater(t, again.ID(), id)
	}
	require.Greater(t, again.ID(), last.ID())
	for r, err := range again.AsCompleted(ctx) {
		require.NoError(t, err)
		require.Greater(t, r.Token, token)
	}
	for _, cursor := range cursors {
		for _, err := range cl.Job(early.ID()).AsCompletedFrom(ctx, cursor) {
			require.ErrorIs(t, err, task.ErrConflict)
			require.ErrorContains(t, err, "from the start")
		}
	}
	cursors, _ = readAll(ctx, t, cl.Job(early.ID()))
	for i, cursor := range cursors {
		rest := 0
		for _, err := range cl.Job(early.ID()).AsCompletedFrom(ctx, cursor) {
			require.NoError(t, err)
			rest++
		}
		require.Equal(t, len(cursors)-1-i, rest)
	}
	c.growsUnderLoad(first)
	c.verify()
}

// Two of three machines are lost. The third has all that was acknowledged last, because the others were lost one by one.
func TestALostQuorumIsRecovered(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4, ServerFlags: []string{"--lease-timeout", shortLease.String()}})
	ctx, cancel := context.WithTimeout(context.Background(), 4*within)
	defer cancel()
	gate, open := c.gate()
	long := c.submit("--", "sh", "-c", waitForFile, "sh", gate)
	await(t, "a running task", func() bool { return len(processes(c.mark(), "ROTA_JOB_ID="+number(long))) > 0 })
	submits := submitLoops(2, "s", submitWith(c.client(), task.Spec{Command: []string{"true"}}))
	submits.more(t, 20)
	lost := c.followers()[0]
	lost.Kill()
	submits.more(t, 20)
	all := submits.halt(t)
	killAtOnce(c.Servers...)

	left := c.Servers[0]
	if left == lost {
		left = c.Servers[1]
	}
	out := filepath.Join(c.dir, "recovered")
	survey := parse[jsonv1.Survey](t, c.ok("cluster", "recover", "--data-dir", c.dataDir(left), "-o", "json"))
	require.Len(t, survey.Voters, 3)
	require.NoDirExists(t, out)
	c.ok("cluster", "recover", "--data-dir", c.dataDir(left), "--out", out, "--peer-addr", left.PeerAddr, "--confirm")
	require.NoError(t, os.Rename(c.dataDir(left), c.dataDir(left)+".old"))
	require.NoError(t, os.Rename(out, c.dataDir(left)))
	c.goesOn(left)

	open()
	require.Contains(t, c.ok("job", "wait", number(long), "--wait-timeout", within.String(), "-o", "json"), "succeeded")
	c.requireKept(all)
	job, err := c.client().Submit(ctx, client.Request{Spec: task.Spec{Command: []string{"true"}}, Count: 5})
	require.NoError(t, err)
	for _, id := range all {
		require.Greater(t, job.ID(), id)
	}
	c.growsUnderLoad(left)
	c.verify()
}
