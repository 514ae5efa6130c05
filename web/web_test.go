package web_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/web"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// fakeNode is a node that says what a test wants.
type fakeNode struct {
	self   node.PeerInfo
	ready  bool
	behind bool
	full   bool
	silent map[string]time.Duration
	leader node.Leader
	state  *store.State
}

func (n *fakeNode) Self() node.PeerInfo { return n.self }
func (n *fakeNode) Now() int64          { return 5e9 }
func (n *fakeNode) Measure() node.Measures {
	return node.Measures{
		RaftRefused: 7, Voters: 3, Silent: n.silent, DiskFree: 12, DiskFull: n.full,
		Apply: latency.Reading{Count: 3, Seconds: 2.5, UpTo: map[time.Duration]uint64{time.Millisecond: 1, time.Second: 2}},
	}
}
func (n *fakeNode) Ready() (uint64, bool) {
	return n.self.Term, n.ready
}
func (n *fakeNode) CaughtUp() bool      { return !n.behind }
func (n *fakeNode) Leader() node.Leader { return n.leader }
func (n *fakeNode) State() *store.State { return n.state }

// follower is a node that is ready as a follower.
func follower(t testing.TB) *fakeNode {
	t.Helper()
	state, err := store.OpenState(t.TempDir(), store.Identity{NodeID: "n1", ServerID: "ab"}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, state.Close()) })
	return &fakeNode{
		self: node.PeerInfo{
			NodeID: "n1", ClusterID: "c", Initialized: true, State: node.RoleFollower, Term: 3, LastContact: 10 * time.Millisecond,
		},
		leader: node.Leader{NodeID: "n2", Addr: "127.0.0.1:2", Term: 3},
		state:  state,
	}
}

func newServer(n *fakeNode) *web.Server {
	turned := func() map[string]wire.Turned {
		return map[string]wire.Turned{"grpc": {Refused: 1, Displaced: 2, Ended: 3}, "http": {}}
	}
	requests := func() transport.Measures {
		return transport.Measures{Refused: 2, Calls: map[string]transport.CallMeasures{
			"JobService/Submit":     {Codes: map[string]uint64{"OK": 4, "ResourceExhausted": 1}, Took: latency.Reading{Count: 5, Seconds: 1}},
			"WorkerService/Session": {Codes: map[string]uint64{"Unavailable": 1}},
		}}
	}
	tooLarge := func() map[string]int64 { return map[string]int64{"busy": 1} }
	denials := func() map[access.Counted]int64 {
		return map[access.Counted]int64{{Right: task.RightSubmit, Reason: "right"}: 3}
	}
	certificates := func() []secure.Expiry {
		return []secure.Expiry{{Subject: "rota CA", CA: true, NotAfter: time.Unix(2e9, 0)}}
	}
	return web.New(web.Config{
		Node: n, Logger: slog.New(slog.DiscardHandler), Version: "v1", Turned: turned, Requests: requests, TooLarge: tooLarge,
		Denials: denials, Certificates: certificates,
	})
}

func get(t *testing.T, s http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return w.Code, strings.TrimSpace(string(body))
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(n *fakeNode)
		want   string
	}{
		{"a follower that hears from its leader", func(*fakeNode) {}, "ok"},
		{"a leader that serves", func(n *fakeNode) { n.ready, n.leader.NodeID = true, "n1" }, "ok"},
		{"a leader that does not serve yet", func(n *fakeNode) { n.leader.NodeID = "n1" }, "the server leads and is not ready yet"},
		{"no cluster yet", func(n *fakeNode) { n.self.Initialized, n.leader.NodeID = false, "" }, "the server is not part of a cluster yet"},
		{"no leader", func(n *fakeNode) { n.leader = node.Leader{} }, "no leader is known"},
		{"no state yet", func(n *fakeNode) { n.self.ClusterID = "" }, "the state of the cluster has not arrived yet"},
		{"a silent leader", func(n *fakeNode) { n.self.LastContact = 3 * time.Second }, "nothing was heard from leader n2 for 3s"},
		{"a leader of unknown address", func(n *fakeNode) { n.leader.Addr = "" }, "the address of leader n2 is not known yet"},
		{"a follower that has just started", func(n *fakeNode) { n.behind, n.self.AppliedIndex = true, 7 }, "it is behind leader n2: the state is at index 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := follower(t)
			c.change(n)
			wantCode := http.StatusServiceUnavailable
			if c.want == "ok" {
				wantCode = http.StatusOK
			}
			code, body := get(t, newServer(n), "/readyz")
			require.Equal(t, wantCode, code)
			require.Equal(t, c.want, body)
		})
	}
}

func TestAServerThatStopsIsAliveAndNotReady(t *testing.T) {
	t.Parallel()
	s := newServer(follower(t))
	s.Stopping()
	code, body := get(t, s, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "the server is shutting down", body)
	code, _ = get(t, s, "/livez")
	require.Equal(t, http.StatusOK, code)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	n := follower(t)
	code, body := get(t, newServer(n), "/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, want := range []string{
		`rota_build_info{node="n1",version="v1"} 1`, "rota_ready 1", "rota_leader 0", `rota_raft_state{state="Follower"} 1`,
		`rota_raft_state{state="Leader"} 0`, "rota_raft_term 3", "rota_raft_last_contact_seconds 0.01", "rota_applied_index 0", "rota_commit_index 0",
		"rota_live_tasks 0", "rota_sessions 0", "rota_state_dirty_bytes 0", "go_goroutines",
		`rota_raft_refused_total 7`, `rota_connections_turned_away_total{how="refused",port="grpc"} 1`, `rota_connections_turned_away_total{how="displaced",port="grpc"} 2`,
		`rota_connections_turned_away_total{how="ended",port="grpc"} 3`, `rota_connections_turned_away_total{how="refused",port="http"} 0`,
		`rota_apply_seconds_bucket{le="0.001"} 1`, `rota_apply_seconds_bucket{le="1"} 2`, `rota_apply_seconds_bucket{le="+Inf"} 3`,
		"rota_apply_seconds_sum 2.5", "rota_apply_seconds_count 3",
		`rota_requests_total{code="ResourceExhausted",method="JobService/Submit"} 1`, `rota_requests_total{code="Unavailable",method="WorkerService/Session"} 1`,
		`rota_request_seconds_count{method="JobService/Submit"} 5`, "rota_reports_refused_total 2", "rota_disk_free_bytes 12", "rota_disk_full 0",
		`rota_tasks_ended_total{state="succeeded"} 0`, `rota_tasks_failed_total{reason="worker-lost"} 0`, "rota_raft_voters 3",
		`rota_denials_total{reason="right",right="submit"} 3`, `rota_certificate_end_seconds{of="rota CA"} 2e+09`,
	} {
		require.Contains(t, body, want)
	}
	require.Regexp(t, `(?m)^rota_state_db_bytes [1-9]`, body)
}

// Profiles tell about the machine, so they are served only if somebody has asked for them.
func TestProfilesAreServedOnRequestOnly(t *testing.T) {
	t.Parallel()
	n := follower(t)
	const path = "/debug/pprof/goroutine?debug=1"
	code, _ := get(t, newServer(n), path)
	require.Equal(t, http.StatusNotFound, code)
	s := web.New(web.Config{Node: n, Logger: slog.New(slog.DiscardHandler), Version: "v1", Profiles: true})
	code, body := get(t, s, path)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "goroutine profile")
}
