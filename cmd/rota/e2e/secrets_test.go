package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/localcluster"
)

// mark is in everything that a user puts in, so that it is found wherever that should not be.
const mark = "zq7mark"

// What users put into jobs is in no log, also not at debug level, and in no metric.
func TestWhatUsersPutInIsInNoLogAndNoMetric(t *testing.T) {
	t.Parallel()
	flags := []string{"--log-level", "debug", "--log-format", "json"}
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, ServerFlags: flags, WorkerFlags: flags})
	payload := filepath.Join(c.dir, "payload")
	require.NoError(t, os.WriteFile(payload, []byte(mark+"-payload"), 0o600))
	job := func(verb string, args ...string) output {
		return c.rota(append([]string{
			verb, "--name", mark + "-name", "--payload", "@" + payload, "--env", "A=" + mark + "-env", "--meta", "m=" + mark + "-meta", "--key", mark + "-key" + args[0],
			"--retries", "0", "--",
		}, args...)...)
	}
	require.Contains(t, job("run", "cat").stdout, mark+"-payload")
	require.NotZero(t, job("run", "sh", "-c", "echo "+mark+"-stderr >&2; exit 3").code)
	require.NotZero(t, job("run", mark+"-command").code)
	for _, s := range c.Servers {
		require.NotContains(t, page(t, s, "/metrics"), mark, "the metrics of %s", s.Name)
	}
	requests := map[string]int{}
	for _, p := range c.Processes() {
		text, _ := c.logged(p, 0)
		for line := range strings.Lines(text) {
			var fields map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &fields), "%s: %s", p.Name, line)
			require.NotContains(t, line, mark, "the log of %s", p.Name)
			if id, ok := fields["request_id"].(string); ok {
				requests[id]++
			}
		}
	}
	require.NotEmpty(t, requests, "calls are logged")
}

// page reads a page of a server.
func page(t *testing.T, s *localcluster.Process, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.HTTPAddr+path, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}
