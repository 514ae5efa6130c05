package jsonv1

import "time"

// Snapshot is a backup: what cluster snapshot save and inspect print.
type Snapshot struct {
	// File is where it is; "-" for standard input, and Bytes its size.
	File  string `json:"file"`
	Bytes uint64 `json:"bytes"`
	// TakenAt is when it was begun, by the clock of the server NodeID, whose build is Version.
	TakenAt *time.Time `json:"taken_at"`
	NodeID  string     `json:"node_id"`
	Version string     `json:"version"`
	// ClusterID is whose state it is. Incarnation is 16 hexadecimal digits, omitted if the cluster was never restored nor
	// recovered.
	ClusterID   string `json:"cluster_id"`
	Incarnation string `json:"incarnation,omitempty"`
	// Index and Term are those of the last log entry in it, EntryAt is the time of that entry, and Digest the digest of the
	// state, 16 hexadecimal digits.
	Index   uint64     `json:"index"`
	Term    uint64     `json:"term"`
	EntryAt *time.Time `json:"entry_at"`
	Digest  string     `json:"digest"`
	// LogVersion is the active version of the log, StateFormat the format of state.db.
	LogVersion  uint32 `json:"log_version"`
	StateFormat uint32 `json:"state_format"`
	// Jobs counts all jobs, and UnfinishedJobs those among them that have not ended.
	Jobs           uint64 `json:"jobs"`
	UnfinishedJobs uint64 `json:"unfinished_jobs"`
	RequestKeys    uint64 `json:"request_keys"`
	// Sessions is how many workers were connected.
	Sessions uint64 `json:"sessions"`
	// NextJob and NextToken are what the cluster would have given out next.
	NextJob   uint64 `json:"next_job"`
	NextToken uint64 `json:"next_token"`
	// Servers are the node ids of the cluster's servers.
	Servers []string `json:"servers"`
	// StateBytes is its size when it is not compressed.
	StateBytes uint64 `json:"state_bytes"`
}

// NewCluster is a cluster that was made from what was left of another one: what cluster snapshot restore and cluster
// recover print.
type NewCluster struct {
	// DataDir is the data folder of its first server, NodeID.
	DataDir   string `json:"data_dir"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	ServerID  string `json:"server_id"`
	// FromCluster and FromIndex are whose state it has, and how far that had come.
	FromCluster string `json:"from_cluster"`
	FromIndex   uint64 `json:"from_index"`
	// Index and Term are where its log goes on, NextJob and NextToken what it gives out next.
	Index      uint64 `json:"index"`
	Term       uint64 `json:"term"`
	NextJob    uint64 `json:"next_job"`
	NextToken  uint64 `json:"next_token"`
	LogVersion uint32 `json:"log_version"`
	// UnfinishedJobs and Sessions go on.
	UnfinishedJobs int `json:"unfinished_jobs"`
	Sessions       int `json:"sessions"`
	// AccessTokens are those that are valid: id, and name in brackets. Some may have been revoked after the state was saved.
	AccessTokens []string `json:"access_tokens"`
}

// Survey is what is left of a cluster on one server: what cluster recover prints without --confirm.
type Survey struct {
	DataDir   string `json:"data_dir"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
	ServerID  string `json:"server_id"`
	// Voters and Others are the node ids of the cluster's servers, as this one knows them.
	Voters []string `json:"voters"`
	Others []string `json:"others"`
	// AppliedIndex is how far the state has come, LastIndex and LastTerm are those of the last entry of the log.
	AppliedIndex uint64 `json:"applied_index"`
	LastIndex    uint64 `json:"last_index"`
	LastTerm     uint64 `json:"last_term"`
	StateBytes   uint64 `json:"state_bytes"`
}

// Compacted is what cluster compact prints.
type Compacted struct {
	DataDir string `json:"data_dir"`
	// BeforeBytes and AfterBytes are the sizes of state.db.
	BeforeBytes uint64 `json:"before_bytes"`
	AfterBytes  uint64 `json:"after_bytes"`
}
