package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// Kinds of metrics, as Prometheus calls them.
const (
	gauge     = "gauge"
	counter   = "counter"
	histogram = "histogram"
)

// Metric is a metric of a server. Operators build upon their names, kinds and labels: metrics may be added, but not changed.
type Metric struct {
	Name, Kind, Help string
	Labels           []string
}

// Metrics are all metrics of a server, beside those of the Go runtime (go_) and of its process (process_). docs/metrics.md lists them too.
func Metrics() []Metric { return metrics }

var metrics = []Metric{
	// The server.
	{"rota_build_info", gauge, "Always 1; the labels say which build this is.", []string{"version", "node"}},
	{"rota_ready", gauge, "1 while this server can serve requests.", nil},
	{"rota_leader", gauge, "1 while this server leads and serves.", nil},
	{"rota_active_version", gauge, "The active version of the log.", nil},
	{"rota_disk_free_bytes", gauge, "Space that is left for the data folder.", nil},
	{"rota_disk_full", gauge, "1 while a write found no space, or too little is left to take new jobs.", nil},

	{"rota_certificate_end_seconds", gauge, "Unix time at which a certificate of this server ends, or a CA that it trusts.", []string{"of"}},

	// Raft and the log.
	{"rota_raft_state", gauge, "1 for the part that this server plays in Raft, 0 for the others.", []string{"state"}},
	{"rota_raft_term", gauge, "Raft's current term.", nil},
	{"rota_raft_last_contact_seconds", gauge, "Time since a follower heard from the leader; 0 on the leader.", nil},
	{"rota_raft_voters", gauge, "Servers with a vote.", nil},
	{"rota_raft_silent_seconds", gauge, "Of a leader: for how long another server has answered no heartbeat; 0: it has.", []string{"peer"}},
	{"rota_raft_applied_index", gauge, "Index up to which Raft has had entries applied, those included that the state machine does not see.", nil},
	{"rota_raft_refused_total", counter, "Connections and messages that were refused on the Raft port: the log says whose.", nil},
	{"rota_leader_changes_total", counter, "How often this server has heard of another leader, or of another term of the same one.", nil},
	{"rota_applied_index", gauge, "Index of the last log entry that the state machine has applied.", nil},
	{"rota_commit_index", gauge, "Index up to which this server knows the log to be committed, since its start.", nil},
	{"rota_commit_seconds", histogram, "How long entries of this leader took until they were applied, those included that failed.", nil},
	{"rota_log_write_seconds", histogram, "How long writes of the log took, with their syncs.", nil},
	{"rota_apply_seconds", histogram, "How long the state machine took for batches of log entries, with the wait for state.db where too much has yet to be written.", nil},
	{"rota_snapshots_total", counter, "Snapshots that this server has taken.", nil},
	{"rota_snapshot_index", gauge, "Index of the newest snapshot; 0: there is none.", nil},

	// The state.
	{"rota_flush_seconds", histogram, "How long writes of state.db took, with their syncs.", nil},
	{"rota_state_db_bytes", gauge, "Size of state.db.", nil},
	{"rota_state_dirty_bytes", gauge, "Changes that wait to be written to state.db.", nil},
	{"rota_state_flushing_bytes", gauge, "Changes that are being written to state.db.", nil},
	{"rota_jobs_in_memory", gauge, "Jobs that are in memory: those that are not finished, and those not flushed yet.", nil},
	{"rota_live_tasks", gauge, "Tasks that were granted, or failed, and are not final.", nil},
	{"rota_sessions", gauge, "Open sessions of workers.", nil},
	{"rota_classes", gauge, "Classes of ready tasks that can run in the same places.", nil},
	{"rota_request_keys_in_memory", gauge, "Request keys that are in memory.", nil},

	// Queues and tasks. Every server has them, by the entries that it has applied.
	{"rota_queues", gauge, "Queues with jobs that are in memory.", nil},
	{"rota_queue_tasks", gauge, "Tasks without an outcome. queue is empty for all queues together beyond the 256 that are shown by name.", []string{"queue", "state"}},
	{"rota_queue_oldest_seconds", gauge, "For how long the oldest job waits of which a task could be granted; 0: none waits. The leader knows it best.", []string{"queue"}},
	{"rota_jobs_submitted_total", counter, "Jobs that were submitted.", nil},
	{"rota_tasks_granted_total", counter, "Tasks that were granted to workers, each attempt counted.", nil},
	{"rota_tasks_ended_total", counter, "Tasks that got an outcome.", []string{"state"}},
	{"rota_tasks_failed_total", counter, "Tasks that failed for good.", []string{"reason"}},
	{"rota_attempts_repeated_total", counter, "Attempts that ended without ending their tasks, which are tried again. reason is empty where a worker has ended in good order.", []string{"reason"}},
	{"rota_sessions_opened_total", counter, "Sessions that workers have opened.", nil},
	{"rota_sessions_ended_total", counter, "Sessions that have ended: in good order (left), or by the end of a lease or of a process (lost).", []string{"how"}},
	{"rota_assign_seconds", histogram, "How long tasks waited from their submit, or from the start of a delayed job, until they were first granted.", nil},

	// Requests.
	{"rota_submit_seconds", histogram, "How long submits took from their arrival at this leader until their jobs were committed.", nil},
	{"rota_run_seconds", histogram, "How long attempts ran that were reported to this leader.", nil},
	{"rota_result_seconds", histogram, "How long reports took from their arrival at this leader until they were recorded, for each task.", nil},
	{"rota_reports_refused_total", counter, "Reported tasks that were not recorded: late, or sent again.", nil},
	{"rota_requests_total", counter, "Calls that have ended, by method of gRPC and by the name of the status code.", []string{"method", "code"}},
	{"rota_request_seconds", histogram, "How long calls took that are no streams.", []string{"method"}},
	{"rota_requests_too_large_total", counter, "Requests that were refused for their size: of the message, of the number of its elements, of something in it (limit), or because too many large ones were under way (busy).", []string{"reason"}},
	{"rota_denials_total", counter, "Calls and HTTP requests that were refused because the caller was not known, or lacked the right.", []string{"right", "reason"}},
	{"rota_connections_turned_away_total", counter, "Connections that found no place (refused), gave theirs to others (displaced), or had to end for what they took (ended).", []string{"port", "how"}},
}

// collector reads the server when it is scraped.
type collector struct {
	cfg      Config
	notReady func() string
	descs    map[string]*prometheus.Desc
}

func newCollector(cfg Config, notReady func() string) *collector {
	if cfg.Turned == nil {
		cfg.Turned = func() map[string]wire.Turned { return nil }
	}
	if cfg.TooLarge == nil {
		cfg.TooLarge = func() map[string]int64 { return nil }
	}
	if cfg.Denials == nil {
		cfg.Denials = func() map[access.Counted]int64 { return nil }
	}
	if cfg.Certificates == nil {
		cfg.Certificates = func() []secure.Expiry { return nil }
	}
	if cfg.Requests == nil {
		cfg.Requests = func() transport.Measures { return transport.Measures{} }
	}
	c := &collector{cfg: cfg, notReady: notReady, descs: map[string]*prometheus.Desc{}}
	for _, m := range metrics {
		c.descs[m.Name] = prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := scrape{c.descs, ch}
	c.server(s)
	c.state(s)
	c.tasks(s)
	c.requests(s)
}

// server is what the server is, and how Raft does.
func (c *collector) server(s scrape) {
	self, measured := c.cfg.Node.Self(), c.cfg.Node.Measure()
	_, leads := c.cfg.Node.Ready()
	s.gauge("rota_build_info", 1, c.cfg.Version, self.NodeID)
	s.gauge("rota_ready", truth(c.notReady() == ""))
	s.gauge("rota_leader", truth(leads))
	s.gauge("rota_disk_free_bytes", float64(measured.DiskFree))
	s.gauge("rota_disk_full", truth(measured.DiskFull))
	for _, e := range c.cfg.Certificates() {
		s.gauge("rota_certificate_end_seconds", float64(e.NotAfter.Unix()), e.Subject)
	}
	for _, role := range node.Roles() {
		s.gauge("rota_raft_state", truth(self.State == role), string(role))
	}
	s.gauge("rota_raft_term", float64(self.Term))
	contact := self.LastContact.Seconds()
	if self.State == node.RoleLeader {
		contact = 0
	}
	s.gauge("rota_raft_last_contact_seconds", contact)
	s.gauge("rota_raft_voters", float64(measured.Voters))
	for peer, silent := range measured.Silent {
		s.gauge("rota_raft_silent_seconds", silent.Seconds(), peer)
	}
	s.gauge("rota_raft_applied_index", float64(measured.RaftApplied))
	s.counter("rota_raft_refused_total", float64(measured.RaftRefused))
	s.counter("rota_leader_changes_total", float64(measured.LeaderChanges))
	s.gauge("rota_commit_index", float64(self.CommitIndex))
	s.histogram("rota_commit_seconds", measured.Commit)
	s.histogram("rota_log_write_seconds", measured.LogWrite)
	s.histogram("rota_apply_seconds", measured.Apply)
	s.counter("rota_snapshots_total", float64(measured.Snapshots))
	s.gauge("rota_snapshot_index", float64(measured.SnapshotIndex))
	s.histogram("rota_flush_seconds", measured.Flush)
}

// state is what the state machine holds.
func (c *collector) state(s scrape) {
	state := c.cfg.Node.State()
	stats := state.Machine().Stats()
	s.gauge("rota_active_version", float64(state.Machine().ActiveVersion()))
	s.gauge("rota_applied_index", float64(stats.AppliedIndex))
	s.gauge("rota_jobs_in_memory", float64(stats.Jobs))
	s.gauge("rota_live_tasks", float64(stats.LiveTasks))
	s.gauge("rota_sessions", float64(stats.Sessions))
	s.gauge("rota_classes", float64(stats.Classes))
	s.gauge("rota_request_keys_in_memory", float64(stats.Keys))
	s.gauge("rota_state_dirty_bytes", float64(stats.DirtyBytes))
	s.gauge("rota_state_flushing_bytes", float64(stats.FlushingBytes))
	s.gauge("rota_state_db_bytes", float64(state.FileSize()))
}

// tasks is what waits, and what entries have done.
func (c *collector) tasks(s scrape) {
	state := c.cfg.Node.State()
	stats, queues := state.Machine().QueueStats()
	s.gauge("rota_queues", float64(queues))
	now := c.cfg.Node.Now()
	for _, q := range stats {
		for t := task.Blocked; t <= task.Stopping; t++ {
			s.gauge("rota_queue_tasks", float64(q.Tasks[t]), q.Name, t.String())
		}
		waits := time.Duration(0)
		if q.OldestNs > 0 {
			waits = time.Duration(max(0, now-q.OldestNs))
		}
		s.gauge("rota_queue_oldest_seconds", waits.Seconds(), q.Name)
	}
	tallied := state.Watchers().Tally().Read()
	s.counter("rota_jobs_submitted_total", float64(tallied.Submitted))
	s.counter("rota_tasks_granted_total", float64(tallied.Granted))
	for t := task.Succeeded; t <= task.Cancelled; t++ {
		s.counter("rota_tasks_ended_total", float64(tallied.Ended[t]), t.String())
	}
	for r := range task.Reason(task.NumReasons) {
		if r != task.NoReason {
			s.counter("rota_tasks_failed_total", float64(tallied.Failed[r]), r.String())
		}
		s.counter("rota_attempts_repeated_total", float64(tallied.Attempts[r]), r.String())
	}
	s.counter("rota_sessions_opened_total", float64(tallied.SessionsOpened))
	s.counter("rota_sessions_ended_total", float64(tallied.SessionsLeft), "left")
	s.counter("rota_sessions_ended_total", float64(tallied.SessionsLost), "lost")
	s.histogram("rota_assign_seconds", tallied.Assign)
}

// requests is what others ask for.
func (c *collector) requests(s scrape) {
	measured := c.cfg.Requests()
	s.histogram("rota_submit_seconds", measured.Submit)
	s.histogram("rota_run_seconds", measured.Run)
	s.histogram("rota_result_seconds", measured.Result)
	s.counter("rota_reports_refused_total", float64(measured.Refused))
	for method, m := range measured.Calls {
		for code, n := range m.Codes {
			s.counter("rota_requests_total", float64(n), method, code)
		}
		if m.Took.Count > 0 {
			s.histogram("rota_request_seconds", m.Took, method)
		}
	}
	for what, n := range c.cfg.Denials() {
		s.counter("rota_denials_total", float64(n), string(what.Right), string(what.Reason))
	}
	for port, n := range c.cfg.Turned() {
		for how, count := range map[string]int64{"refused": n.Refused, "displaced": n.Displaced, "ended": n.Ended} {
			s.counter("rota_connections_turned_away_total", float64(count), port, how)
		}
	}
	for reason, n := range c.cfg.TooLarge() {
		s.counter("rota_requests_too_large_total", float64(n), reason)
	}
}

// scrape is one look at a server.
type scrape struct {
	descs map[string]*prometheus.Desc
	ch    chan<- prometheus.Metric
}

func (s scrape) gauge(name string, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.descs[name], prometheus.GaugeValue, v, labels...)
}

func (s scrape) counter(name string, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.descs[name], prometheus.CounterValue, v, labels...)
}

// histogram is how long something took.
func (s scrape) histogram(name string, r latency.Reading, labels ...string) {
	buckets := make(map[float64]uint64, len(r.UpTo))
	for bound, n := range r.UpTo {
		buckets[bound.Seconds()] = n
	}
	s.ch <- prometheus.MustNewConstHistogram(s.descs[name], r.Count, r.Seconds, buckets, labels...)
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}
