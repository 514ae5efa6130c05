package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftlog"
	"github.com/rota-scheduler/rota/node/raftnet"
	"github.com/rota-scheduler/rota/task"
)

// Config is what a server is started with. Zero durations and sizes take the defaults.
type Config struct {
	// NodeID is the operator's name for the server; unique in the cluster.
	NodeID  string
	DataDir string
	// Addr is the gRPC address, PeerAddr the Raft address, HTTPAddr the HTTP address,
	// as others reach them.
	Addr, PeerAddr, HTTPAddr string
	// BootstrapExpect is how many new servers make a cluster together.
	BootstrapExpect int
	// Join is the gRPC addresses of the servers of the cluster, or of those to be. A name may stand for several.
	Join []string
	// Lookup returns which addresses those of Join stand for now, as wire.Lookup does; nil: a name is one server.
	Lookup func(ctx context.Context, addrs []string) ([]string, error)

	// Peers asks other servers over their gRPC port. nil: none of them answers, as for a server
	// that is a cluster by itself.
	Peers Peers
	// RaftListener is the open Raft port. Nil: RaftTransport is set.
	RaftListener net.Listener
	// RaftDial connects to the Raft port of another server, and gives up after a timeout; nil: over TCP, in plain text.
	RaftDial func(addr string, timeout time.Duration) (net.Conn, error)
	// RaftTransport replaces the TCP transport, in simulations.
	RaftTransport raftnet.Base
	// LogStore is LogStoreBolt or LogStoreWAL. Default: what the folder has, LogStoreWAL
	// for a new one.
	LogStore string
	// Stores replaces the log's and stable store's file, in simulations.
	Stores raftlog.Stores
	// Knows is the newest version of the log that the server says it knows. Default: that of the build.
	// Simulations have less, for a server of an older build.
	Knows uint32

	// CertificateEnd says when the server's certificate expires. Nil: it has none.
	CertificateEnd func() time.Time

	// ElectionTimeout is raft's heartbeat and election timeout: how soon a silent
	// leader is replaced. Default 400 ms, for a LAN: see raftnet/leaderwatch.go.
	ElectionTimeout time.Duration
	// CommitTimeout is how soon an idle follower learns of the last commit. Default 5 ms.
	CommitTimeout time.Duration
	// EntriesInFlight bounds the entries that wait for their commit. Default 4.
	EntriesInFlight int
	// SnapshotBytes of log are applied between two snapshots. Default 256 MiB.
	SnapshotBytes int64
	// SnapshotEntries is after how many entries of the log one is taken, however small they are: a server
	// reads all entries behind the newest snapshot when it starts, and barriers of reads have no bytes.
	// Default 1,048,576.
	SnapshotEntries uint64
	// TrailingBytes is about how much log is kept behind a snapshot, so that a server
	// that was away for a moment needs no stream of the state. Default 64 MiB.
	TrailingBytes int64
	// LeaseTimeout is how long a worker may be silent. Default 10 s.
	LeaseTimeout time.Duration
	// StallTimeout is how long one write of the log may take before a leader gives its
	// place up. Default 2 s.
	StallTimeout time.Duration
	// RetentionInterval is how often the leader looks for finished jobs to forget. Default 10 s.
	RetentionInterval time.Duration
	// RetentionBytes is how many bytes state.db may use before finished jobs are forgotten
	// before their time. Default 0: no bound.
	RetentionBytes int64

	Logger *slog.Logger
	// Fatal is called, once, when the server must end: it cannot go on without harm.
	Fatal func(error)
	// Version is this build's, for status.
	Version string
}

// The log stores.
const (
	// LogStoreWAL is files that are only appended to, with one flush an append.
	LogStoreWAL = raftlog.WAL
	// LogStoreBolt is a B+tree in one file, with two flushes an append.
	LogStoreBolt = raftlog.Bolt
)

// What a server does without another word: the defaults of its flags.
const (
	DefaultElectionTimeout   = 400 * time.Millisecond
	DefaultCommitTimeout     = 5 * time.Millisecond
	DefaultLeaseTimeout      = 10 * time.Second
	DefaultStallTimeout      = 2 * time.Second
	DefaultRetentionInterval = 10 * time.Second
	DefaultSnapshotBytes     = 256 << 20
	DefaultTrailingBytes     = 64 << 20

	defaultEntriesInFlight = 4
	defaultSnapshotEntries = 1 << 20
)

func (c *Config) setDefaults() error {
	switch {
	case c.NodeID == "":
		return errors.New("a server needs a node id: set --node-id")
	case c.DataDir == "":
		return errors.New("a server needs a data folder: set --data-dir")
	case task.ValidNodeID("--node-id", c.NodeID) != nil:
		return task.ValidNodeID("--node-id", c.NodeID)
	case c.Logger == nil || c.Fatal == nil:
		return errors.New("node: Logger and Fatal must be set")
	case c.BootstrapExpect < 0 || c.BootstrapExpect > 9:
		return fmt.Errorf("--bootstrap-expect %d is out of range: use 1, 3 or 5", c.BootstrapExpect)
	}
	if c.LogStore != "" && raftlog.FileName(c.LogStore) == "" {
		return fmt.Errorf("--log-store %q is not known: use %s or %s", c.LogStore, LogStoreWAL, LogStoreBolt)
	}
	if c.Peers == nil {
		c.Peers = nobody{}
	}
	setDefault(&c.ElectionTimeout, DefaultElectionTimeout)
	setDefault(&c.CommitTimeout, DefaultCommitTimeout)
	setDefault(&c.EntriesInFlight, defaultEntriesInFlight)
	setDefault(&c.SnapshotBytes, DefaultSnapshotBytes)
	setDefault(&c.SnapshotEntries, defaultSnapshotEntries)
	setDefault(&c.TrailingBytes, DefaultTrailingBytes)
	setDefault(&c.LeaseTimeout, DefaultLeaseTimeout)
	setDefault(&c.StallTimeout, DefaultStallTimeout)
	setDefault(&c.RetentionInterval, DefaultRetentionInterval)
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// raftConfig sets every option of raft that matters, so that a new version of the
// library cannot change one unseen.
func (c *Config) raftConfig(id raft.ServerID, notify chan<- bool) *raft.Config {
	rc := raft.DefaultConfig()
	rc.ProtocolVersion = raft.ProtocolVersionMax
	rc.LocalID = id
	rc.HeartbeatTimeout = c.ElectionTimeout
	rc.ElectionTimeout = c.ElectionTimeout
	// No read relies on the lease. A shorter one makes a leader give up its place for a
	// disk that is slow for a moment, and gains nothing: followers wait for their own
	// timeout in any case.
	rc.LeaderLeaseTimeout = c.ElectionTimeout
	rc.CommitTimeout = c.CommitTimeout
	rc.MaxAppendEntries = raftnet.MaxAppendEntries
	rc.BatchApplyCh = false // the proposer batches
	rc.PreVoteDisabled = false
	rc.NotifyCh = notify
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	// state.db is there at the start, and checked against the newest snapshot.
	rc.NoSnapshotRestoreOnStart = true
	// compaction.go takes snapshots by bytes of log, never raft by its count.
	rc.SnapshotThreshold = 1 << 62
	rc.SnapshotInterval = time.Hour
	rc.TrailingLogs = 1 << 20
	rc.Logger = raftnet.NewLogger(c.Logger)
	return rc
}
