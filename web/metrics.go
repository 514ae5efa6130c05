package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/wire"
)

// Names of metrics. Operators build upon them: names may be added, but not changed.
const (
	metricBuildInfo      = "rota_build_info"
	metricReady          = "rota_ready"
	metricLeader         = "rota_leader"
	metricRaftState      = "rota_raft_state"
	metricRaftTerm       = "rota_raft_term"
	metricRaftContact    = "rota_raft_last_contact_seconds"
	metricAppliedIndex   = "rota_applied_index"
	metricCommitIndex    = "rota_commit_index"
	metricJobs           = "rota_jobs_in_memory"
	metricLiveTasks      = "rota_live_tasks"
	metricSessions       = "rota_sessions"
	metricClasses        = "rota_classes"
	metricRequestKeys    = "rota_request_keys_in_memory"
	metricDirtyBytes     = "rota_state_dirty_bytes"
	metricFlushingBytes  = "rota_state_flushing_bytes"
	metricReportsRefused = "rota_reports_refused_total"
	metricStateBytes     = "rota_state_db_bytes"
	metricRaftRefused    = "rota_raft_refused_total"
	metricTooLarge       = "rota_requests_too_large_total"
	metricTurnedAway     = "rota_connections_turned_away_total"
	metricApply          = "rota_apply_seconds"
)

// collector reads the node when it is scraped.
type collector struct {
	node     Node
	notReady func() string
	version  string
	refused  func() int64
	turned   func() map[string]wire.Turned
	tooLarge func() map[string]int64

	buildInfo, ready, leader, raftState, raftTerm, raftContact    *prometheus.Desc
	appliedIndex, commitIndex, jobs, liveTasks, sessions, classes *prometheus.Desc
	requestKeys, dirtyBytes, flushingBytes, stateBytes            *prometheus.Desc
	reportsRefused, raftRefused, turnedAway, tooLargeSeen, apply  *prometheus.Desc
}

func newCollector(n Node, notReady func() string, version string, refused func() int64, turned func() map[string]wire.Turned, tooLarge func() map[string]int64) *collector {
	if refused == nil {
		refused = func() int64 { return 0 }
	}
	if turned == nil {
		turned = func() map[string]wire.Turned { return nil }
	}
	if tooLarge == nil {
		tooLarge = func() map[string]int64 { return nil }
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		node: n, notReady: notReady, version: version, refused: refused, turned: turned, tooLarge: tooLarge,
		buildInfo:     desc(metricBuildInfo, "Always 1; the labels say which build this is.", "version", "node"),
		ready:         desc(metricReady, "1 while this server can serve requests."),
		leader:        desc(metricLeader, "1 while this server leads and serves."),
		raftState:     desc(metricRaftState, "1 for the part that this server plays in Raft, 0 for the others.", "state"),
		raftTerm:      desc(metricRaftTerm, "Raft's current term."),
		raftContact:   desc(metricRaftContact, "Time since a follower heard from the leader; 0 on the leader."),
		appliedIndex:  desc(metricAppliedIndex, "Index of the last log entry that the state machine has applied."),
		commitIndex:   desc(metricCommitIndex, "Index up to which this server knows the log to be committed, since its start."),
		jobs:          desc(metricJobs, "Jobs that are in memory: those that are not finished, and those not flushed yet."),
		liveTasks:     desc(metricLiveTasks, "Tasks that were granted, or failed, and are not final."),
		sessions:      desc(metricSessions, "Open sessions of workers."),
		classes:       desc(metricClasses, "Classes of ready tasks that can run in the same places."),
		requestKeys:   desc(metricRequestKeys, "Request keys that are in memory."),
		dirtyBytes:    desc(metricDirtyBytes, "Changes that wait to be written to state.db."),
		flushingBytes: desc(metricFlushingBytes, "Changes that are being written to state.db."),
		stateBytes:    desc(metricStateBytes, "Size of state.db."),

		reportsRefused: desc(metricReportsRefused, "Reported tasks that were not recorded: late, or sent again."),
		raftRefused:    desc(metricRaftRefused, "Connections and messages that were refused on the Raft port: the log says whose."),
		turnedAway:     desc(metricTurnedAway, "Connections that found no place (refused), gave theirs to others (displaced), or had to end for what they took (ended).", "port", "how"),
		tooLargeSeen:   desc(metricTooLarge, "Requests that were refused for their size: of the message, of the number of its elements, of something in it (limit), or because too many large ones were under way (busy).", "reason"),
		apply:          desc(metricApply, "How long the state machine took for batches of log entries, with the wait for state.db where too much has yet to be written."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.buildInfo, c.ready, c.leader, c.raftState, c.raftTerm, c.raftContact, c.appliedIndex, c.commitIndex, c.jobs, c.liveTasks,
		c.sessions, c.classes, c.requestKeys, c.dirtyBytes, c.flushingBytes, c.stateBytes, c.reportsRefused, c.raftRefused, c.turnedAway, c.tooLargeSeen, c.apply,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	self := c.node.Self()
	_, leads := c.node.Ready()
	gauge(c.buildInfo, 1, c.version, self.NodeID)
	gauge(c.ready, truth(c.notReady() == ""))
	gauge(c.leader, truth(leads))
	for _, s := range node.Roles() {
		gauge(c.raftState, truth(self.State == s), string(s))
	}
	gauge(c.raftTerm, float64(self.Term))
	contact := self.LastContact.Seconds()
	if self.State == node.RoleLeader {
		contact = 0
	}
	gauge(c.raftContact, contact)

	state := c.node.State()
	stats := state.Machine().Stats()
	gauge(c.appliedIndex, float64(stats.AppliedIndex))
	gauge(c.commitIndex, float64(self.CommitIndex))
	gauge(c.jobs, float64(stats.Jobs))
	gauge(c.liveTasks, float64(stats.LiveTasks))
	gauge(c.sessions, float64(stats.Sessions))
	gauge(c.classes, float64(stats.Classes))
	gauge(c.requestKeys, float64(stats.Keys))
	gauge(c.dirtyBytes, float64(stats.DirtyBytes))
	gauge(c.flushingBytes, float64(stats.FlushingBytes))
	gauge(c.stateBytes, float64(state.FileSize()))
	ch <- prometheus.MustNewConstMetric(c.reportsRefused, prometheus.CounterValue, float64(c.refused()))
	ch <- prometheus.MustNewConstMetric(c.raftRefused, prometheus.CounterValue, float64(c.node.RaftRefused()))
	for port, n := range c.turned() {
		for how, count := range map[string]int64{"refused": n.Refused, "displaced": n.Displaced, "ended": n.Ended} {
			ch <- prometheus.MustNewConstMetric(c.turnedAway, prometheus.CounterValue, float64(count), port, how)
		}
	}
	for reason, n := range c.tooLarge() {
		ch <- prometheus.MustNewConstMetric(c.tooLargeSeen, prometheus.CounterValue, float64(n), reason)
	}
	ch <- latency(c.apply, c.node.ApplyLatency())
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// latency is a histogram of how long something took.
func latency(d *prometheus.Desc, l node.Latency) prometheus.Metric {
	buckets := make(map[float64]uint64, len(l.UpTo))
	for bound, n := range l.UpTo {
		buckets[bound.Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(d, l.Count, l.Sum.Seconds(), buckets)
}
