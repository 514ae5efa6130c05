package e2e

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

const (
	// installed is what a server logs at level debug when it has installed a snapshot.
	installed = "Installed remote snapshot"
	// installTries is how often to try to catch one step of an install.
	installTries = 6
	// bulkName is the name of jobs that only fill the log.
	bulkName = "bulk"
)

// smallSnapshots makes servers take a snapshot after each 256 KiB of log, keep almost no
// log before it, and log what they install.
var smallSnapshots = []string{"--snapshot-bytes", "262144", "--trailing-bytes", "1", "--log-level", "debug"}

// bulk submits jobs with so many bytes of payloads. No worker runs them.
func (c *cluster) bulk(cl *client.Client, bytes int) (last *client.Job) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	const payloads = 2
	payload := make([]byte, 64<<10)
	for ; bytes > 0; bytes -= payloads * len(payload) {
		for i := range payload {
			payload[i] = byte(rand.Uint32())
		}
		job, err := cl.Submit(ctx, client.Request{
			Spec: task.Spec{Handler: noHandler, Name: bulkName}, Payloads: client.Payloads(payload, payload),
		})
		require.NoError(c.t, err)
		last = job
	}
	return last
}

// logged returns what a process has logged after an offset, and the offset of its end.
func (c *cluster) logged(p *localcluster.Process, from int) (text string, next int) {
	c.t.Helper()
	data, err := os.ReadFile(p.LogFile)
	require.NoError(c.t, err)
	return string(data[from:]), len(data)
}

// A server that was away while the log was cut catches up by a snapshot, even if it is killed
// at any step of the install.
func TestServerCatchesUpBySnapshot(t *testing.T) { onEachLog(t, catchUpBySnapshot) }

func catchUpBySnapshot(t *testing.T, log []string) {
	c := start(t, localcluster.Config{Servers: 3, ServerFlags: append(log, smallSnapshots...)})
	cl := c.client()
	away := c.followers()[0]
	for _, step := range []struct {
		name string
		// files exist during the step; empty: nothing disturbs the install.
		files string
	}{
		{"undisturbed", ""},
		{"killed while receiving", "snapshots/receiving-*"},
		{"killed while taking over", "snapshots/received.state"},
	} {
		t.Run(step.name, func(t *testing.T) {
			c := c.in(t)
			reached := false
			for try := 0; try < installTries && !reached; try++ {
				away.Kill()
				c.leader()
				c.bulk(cl, 4<<20)
				reached = c.installUpTo(away, step.files)
			}
			require.True(t, reached, "the step was too short to be seen %d times", installTries)
			last := c.bulk(cl, 1<<20)
			if !away.Running() {
				c.restart(away)
			}
			c.verify()
			// All that it has is on its own disk.
			away.Kill()
			c.restart(away)
			c.verify()
			require.NoError(t, c.at(away, func(ctx context.Context, jobs rotav1.JobServiceClient) error {
				job, err := jobs.GetJob(ctx, &rotav1.GetJobRequest{JobId: last.ID(), Read: &rotav1.ReadOptions{Stale: true}})
				require.EqualValues(t, 2, job.GetJob().GetTasks().GetTotal())
				return err
			}))
		})
	}
}

// installUpTo starts a server and kills it as soon as it has these files. It reports whether
// that happened before the snapshot was installed. Without files it waits for the install.
func (c *cluster) installUpTo(p *localcluster.Process, files string) (reached bool) {
	c.t.Helper()
	_, from := c.logged(p, 0)
	require.NoError(c.t, p.Start())
	deadline := time.Now().Add(within)
	for looks := 0; ; looks++ {
		// Without a pause: some steps take a millisecond.
		if files != "" {
			found, err := filepath.Glob(filepath.Join(c.dataDir(p), files))
			require.NoError(c.t, err)
			if len(found) > 0 {
				p.Kill()
				return true
			}
		}
		if looks%100 == 0 {
			if text, _ := c.logged(p, from); strings.Contains(text, installed) {
				return files == ""
			}
			require.True(c.t, time.Now().Before(deadline), "no snapshot was installed")
		}
	}
}
