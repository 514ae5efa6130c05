package web_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/web"
)

// busy gives a node a job in a queue.
func busy(t *testing.T, n *fakeNode) {
	t.Helper()
	spec, err := fsm.EncodeSpec(&task.Spec{Handler: "h", Queue: "q"})
	require.NoError(t, err)
	entry, err := fsm.EncodeEntry(fsm.Version, 2e9, []*logpb.Op{{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: spec, Tasks: &logpb.Tasks{Count: 3}}}}})
	require.NoError(t, err)
	results, err := n.state.Machine().Apply(1, 1, entry)
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
}

// row is a row of the table in docs/metrics.md: name, kind, labels, help.
var row = regexp.MustCompile("(?m)^\\| `(rota_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| (.*) \\|$")

func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	var documented []web.Metric
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		var labels []string
		if m[3] != "" {
			labels = strings.Split(strings.ReplaceAll(m[3], "`", ""), ", ")
		}
		documented = append(documented, web.Metric{Name: m[1], Kind: m[2], Labels: labels, Help: m[4]})
	}
	require.Equal(t, web.Metrics(), documented)
}

// Prometheus has rules for names, and people guess by them.
func TestMetricsAreNamedByTheRules(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range web.Metrics() {
		require.False(t, seen[m.Name], m.Name)
		seen[m.Name] = true
		require.Equal(t, m.Kind == "counter", strings.HasSuffix(m.Name, "_total"), m.Name)
		if m.Kind == "histogram" {
			require.True(t, strings.HasSuffix(m.Name, "_seconds"), m.Name)
		}
	}
}

// A metric that is listed and never shown is worse than none: an alert on it never fires.
func TestEveryMetricIsShown(t *testing.T) {
	t.Parallel()
	n := follower(t)
	n.silent = map[string]time.Duration{"n3": time.Minute}
	busy(t, n)
	_, body := get(t, newServer(n), "/metrics")
	for _, m := range web.Metrics() {
		require.Contains(t, body, "# TYPE "+m.Name+" "+m.Kind+"\n")
		require.Contains(t, body, "# HELP "+m.Name+" "+m.Help+"\n")
	}
	for _, want := range []string{
		`rota_queue_tasks{queue="q",state="pending"} 3`, `rota_queue_tasks{queue="q",state="assigned"} 0`, `rota_queue_oldest_seconds{queue="q"} 3`,
		"rota_jobs_submitted_total 1", `rota_raft_silent_seconds{peer="n3"} 60`, "rota_queues 1",
	} {
		require.Contains(t, body, want)
	}
}

func TestVerboseReadinessListsWhatWasChecked(t *testing.T) {
	t.Parallel()
	n := follower(t)
	code, body := get(t, newServer(n), "/readyz?verbose")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "[+] running: not shutting down\n[+] cluster: part of a cluster\n[+] leader: leader n2\n[+] state: of cluster c\n"+
		"[+] contact: leader n2 was heard 10ms ago\n[+] address: leader n2 is at 127.0.0.1:2\n[+] caught-up: the state is at index 0\n"+
		"node n1, Follower, term 3, applied index 0: ok", body)
	n.self.LastContact, n.full, n.silent = 3*time.Second, true, map[string]time.Duration{"n3": time.Minute, "n4": time.Second}
	code, body = get(t, newServer(n), "/readyz?verbose")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "[-] contact: nothing was heard from leader n2 for 3s\n[!] disk: full, or nearly: 12 bytes are left")
	require.NotContains(t, body, "caught-up", "what stands behind a failed check may mean nothing")
	require.Contains(t, body, "[!] peer n3: no answer for 1m0s\n")
	require.NotContains(t, body, "n4")
	_, short := get(t, newServer(n), "/readyz")
	require.Equal(t, "nothing was heard from leader n2 for 3s", short)
}
