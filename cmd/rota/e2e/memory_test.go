package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// memoryLimit is how much memory a large array may cost a server at any moment, MiB.
const memoryLimit = 100

// A large array with 1 KiB results costs each server less than memoryLimit more at any
// moment, and nothing once it has ended. ROTA_E2E_FULL=1 takes a million tasks, which
// write more than 3 GiB; otherwise 60,000, whose results alone are 60 MiB. The processes
// are built without the race detector, whatever this test is built with.
func TestLargeArraysCostLittleMemory(t *testing.T) {
	tasks := 60_000
	if full() {
		tasks = 1_000_000
	}
	c := start(t, localcluster.Config{Servers: 3, Workers: 2, Slots: 4})
	cl, err := c.Client()
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	before := c.anonymousMemory()
	job, err := cl.Submit(ctx, client.Request{
		Spec: task.Spec{Handler: "rota.echo", SharedPayload: []byte(strings.Repeat("x", 1024))}, Count: tasks,
	})
	require.NoError(t, err)
	most := make([]int, len(before))
	done := make(chan error, 1)
	go func() {
		info, err := job.Wait(ctx)
		if err == nil && info.State != task.JobSucceeded {
			err = fmt.Errorf("the job has %v", info.State)
		}
		done <- err
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for running := true; running; {
		select {
		case err := <-done:
			require.NoError(t, err)
			running = false
		case <-tick.C:
		}
		for i, now := range c.anonymousMemory() {
			most[i] = max(most[i], now-before[i])
		}
	}
	t.Logf("%d tasks: at most %v MiB more, before it %v MiB", tasks, most, before)
	for _, more := range most {
		require.Less(t, more, memoryLimit)
	}
	// Tasks that have ended are on disk only.
	for _, s := range c.Servers {
		await(t, "nothing of it in the memory of "+s.Name, func() bool {
			m := c.metrics(s)
			return m["rota_jobs_in_memory"] == 0 && m["rota_live_tasks"] == 0 && m["rota_state_dirty_bytes"] == 0 && m["rota_state_flushing_bytes"] == 0
		})
	}
}

// metrics returns the values on /metrics of a server, without those that have labels.
func (c *cluster) metrics(s *localcluster.Process) map[string]float64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr+"/metrics", nil)
	require.NoError(c.t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = number
		}
	}
	require.Contains(c.t, out, "rota_jobs_in_memory")
	require.Contains(c.t, out, "rota_live_tasks")
	require.Contains(c.t, out, "rota_state_dirty_bytes")
	require.Contains(c.t, out, "rota_state_flushing_bytes")
	return out
}

// anonymousMemory is how much memory each server has that is not that of files, MiB.
func (c *cluster) anonymousMemory() []int {
	c.t.Helper()
	var out []int
	for _, s := range c.Servers {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
		require.NoError(c.t, err)
		_, rest, ok := strings.Cut(string(status), "RssAnon:")
		require.True(c.t, ok)
		kib, err := strconv.Atoi(strings.Fields(rest)[0])
		require.NoError(c.t, err)
		out = append(out, kib>>10)
	}
	return out
}
