package jsonv1

import "time"

// Status is what cluster status prints: the servers as one of them sees them.
type Status struct {
	// Leader is the node id of the leader; "": none is known.
	Leader string `json:"leader"`
	// Term is that of the leader, or the newest one that is known.
	Term uint64 `json:"term"`
	// Servers has all servers of the cluster; [] if the server that answered is not part of one yet.
	Servers   []Server `json:"servers"`
	ClusterID string   `json:"cluster_id"`
	// AppliedIndex is the log index of the state of the server that answered.
	AppliedIndex uint64 `json:"applied_index"`
	// Waiting is what the server that answered waits for, in words for people; omitted if it is part of a cluster.
	Waiting string `json:"waiting,omitempty"`
	// ActiveVersion is the active version of the log; 0: the server that answered is of a build that does not tell.
	ActiveVersion uint32 `json:"active_version"`
}

// Server is one server of a cluster.
type Server struct {
	// ID is its node id.
	ID string `json:"id"`
	// Addr is its gRPC address, PeerAddr its Raft address, HTTPAddr its HTTP address: host:port.
	Addr     string `json:"addr"`
	PeerAddr string `json:"peer_addr"`
	HTTPAddr string `json:"http_addr"`
	// State is leader, follower, candidate, or unreachable: it did not answer the server that was asked.
	State string `json:"state"`
	Voter bool   `json:"voter"`
	// AppliedIndex is the log index of its state; 0 if it did not answer.
	AppliedIndex uint64 `json:"applied_index"`
	// LastContactMS is the time since it heard from the leader, milliseconds; 0 for the leader, and if it did not answer.
	LastContactMS int64 `json:"last_contact_ms"`
	// Version is that of its build.
	Version string `json:"version"`
	// Term is the newest one that it knows; 0 if it did not answer.
	Term uint64 `json:"term"`
	// ServerID was made with its data folder: a server whose folder was wiped has another one.
	ServerID string `json:"server_id"`
	// Problem is what keeps it from doing its part, in words for people; "" if nothing is known.
	Problem string `json:"problem"`
	// KnowsVersion is the newest version of the log that its build knows; 0 if it did not answer, or if a build that does not
	// tell was asked.
	KnowsVersion uint32 `json:"knows_version"`
	// CommitIndex is how far it knows the log to be committed; 0 if it did not answer, or does not tell.
	CommitIndex uint64 `json:"commit_index"`
	// Lag is how many entries of the log its state is behind that of the server that is furthest; 0 if it did not answer.
	Lag uint64 `json:"lag"`
	// DiskFreeBytes is the free space on the disk of its data; null if it did not answer, or does not tell.
	DiskFreeBytes *uint64 `json:"disk_free_bytes"`
	// CertificateExpiresAt is when its certificate expires; null if it has none, did not answer, or does not tell.
	CertificateExpiresAt *time.Time `json:"certificate_expires_at"`
}

// ServerChange is what cluster add, promote, demote and remove print.
type ServerChange struct {
	// ID is the node id of the server, and ServerID what was made with its data folder.
	ID       string `json:"id"`
	ServerID string `json:"server_id"`
	// Voter: it has a vote. Removed: it is no part of the cluster any more.
	Voter   bool `json:"voter"`
	Removed bool `json:"removed"`
	// Voters is how many servers vote now.
	Voters int `json:"voters"`
	// Note is what there is to know about it, in words for people; omitted if there is nothing.
	Note string `json:"note,omitempty"`
}

// Leader is what cluster transfer-leader prints: the new leader.
type Leader struct {
	// Leader is its node id.
	Leader string `json:"leader"`
	Term   uint64 `json:"term"`
}

// Verification is what cluster verify prints: the states of all servers at one log index.
type Verification struct {
	// OK: all voters answered, their digests are equal, and no invariant is broken.
	OK bool `json:"ok"`
	// Index is the log index.
	Index   uint64   `json:"index"`
	Servers []Digest `json:"servers"`
}

// Digest is the digest of the state of one server.
type Digest struct {
	// ID is its node id.
	ID string `json:"id"`
	// Index is the log index of the digest; it says nothing if there is no digest.
	Index uint64 `json:"index"`
	// Digest is 16 hexadecimal digits; "" if there is none.
	Digest string `json:"digest"`
	// Error is why there is no digest, in words for people; omitted if there is one.
	Error string `json:"error,omitempty"`
	// Violations are the invariants that its state breaks, in words for people; omitted if it breaks none.
	Violations []string `json:"violations,omitempty"`
}

// Worker is a worker with an open session: an element of worker list, and what worker get prints.
type Worker struct {
	// ID is random. It lasts as long as the worker's data folder, or as its process if it has none.
	ID string `json:"id"`
	// Name is for people; several workers may have the same.
	Name    string `json:"name"`
	Session uint64 `json:"session"`
	// Connected: it has a stream to the leader.
	Connected bool `json:"connected"`
	// Unhealthy is why it cannot start any task, in words for people; "" if it can.
	Unhealthy string `json:"unhealthy"`
	// Draining: it is about to end, and gets no more tasks.
	Draining bool `json:"draining"`
	// Slots is how many tasks it runs at once, Assigned how many it holds, Running how many of them it has started.
	Slots    uint32 `json:"slots"`
	Assigned uint32 `json:"assigned"`
	Running  uint32 `json:"running"`
	// Labels are what jobs can require of it.
	Labels map[string]string `json:"labels"`
	// Queues are those that it takes tasks from; []: all.
	Queues []string `json:"queues"`
	// Handlers are the Go functions that it has.
	Handlers []string `json:"handlers"`
	// Commands: it runs programs.
	Commands bool `json:"commands"`
	// Version is that of its build.
	Version string `json:"version"`
	// OpenedAt is when its session was opened.
	OpenedAt *time.Time `json:"opened_at"`
	// LastBeatMS is the time since its last beat, milliseconds.
	LastBeatMS int64 `json:"last_beat_ms"`
	// Tasks are those that it runs, by its last beat.
	Tasks []RunningTask `json:"tasks"`
}

// RunningTask is a task that its worker has started.
type RunningTask struct {
	Job uint64 `json:"job"`
	// Task is its index in the job, from 0 on.
	Task uint32 `json:"task"`
	// RunMS is how long it had run when its worker last said so, milliseconds.
	RunMS int64 `json:"run_ms"`
}
