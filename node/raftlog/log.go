package raftlog

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm"
)

// Config is what a log is opened with.
type Config struct {
	// Dir is the server's data folder.
	Dir string
	// Kind is WAL or Bolt. Default: what the folder has, WAL for a new one.
	Kind string
	// Made says that the log was made before: one that is missing now is refused, and not made again.
	Made bool
	// Stores replaces the files, in simulations.
	Stores Stores

	// Fatal is told what must end the server: it cannot go on with this log without harm.
	Fatal func(error)
	// Ending is closed when the server ends: nothing waits for space on the disk any more.
	Ending <-chan struct{}

	Logger *slog.Logger
	// WALLogger takes what raft-wal itself has to say.
	WALLogger hclog.Logger
}

// Stores is a log and a stable store.
type Stores interface {
	raft.LogStore
	raft.StableStore
}

// cacheEntries of at most 256 KiB each are kept for followers: 8 MiB.
const cacheEntries = 32

// Log is raft's log, term and vote on this server's disk, and what guards them. As a raft.LogStore
// it is what reads the log before raft runs; raft itself is given the Chain.
type Log struct {
	*watchedLog
	checked *checkedLog
	stable  *watchedStable
	kind    string
	// file is nil where Stores replace it.
	file io.Closer
	// begins is nil where the log is one file.
	begins func() []uint64
}

// Open opens the log of a server, or makes it, once.
func Open(cfg Config) (*Log, error) {
	l := &Log{}
	stores := cfg.Stores
	if stores == nil {
		f, kind, err := openFile(cfg)
		if err != nil {
			return nil, err
		}
		if s, ok := f.(*segments); ok {
			l.begins = s.begins
		}
		stores, l.file, l.kind = f, f, kind
	}
	l.checked = &checkedLog{LogStore: stores, fatal: cfg.Fatal}
	l.watchedLog = &watchedLog{LogStore: l.checked, fatal: cfg.Fatal, chunk: chunkOf(l.kind)}
	l.stable = &watchedStable{StableStore: &checkedStable{stores}, log: l.watchedLog, fatal: cfg.Fatal, ending: cfg.Ending}
	return l, nil
}

// Kind is what keeps the log; "": what the Config had as Stores.
func (l *Log) Kind() string { return l.kind }

// Stable is raft's term and vote.
func (l *Log) Stable() raft.StableStore { return l.stable }

// SetTerm notes a term in which this server has not voted. It is for a log that is made, before raft runs: on a full disk
// it fails.
func (l *Log) SetTerm(term uint64) error {
	return l.stable.StableStore.SetUint64([]byte(currentTerm), term)
}

// Begins are the indexes at which the files of the log begin, in their order; nil: it is one file.
func (l *Log) Begins() []uint64 {
	if l.begins == nil {
		return nil
	}
	return l.begins()
}

// Chain returns the log as raft is given it. applied is the last entry in the state machine, snapshot
// the index of the newest snapshot; neither may wait for raft.
func (l *Log) Chain(applied func() fsm.Place, snapshot func() uint64) (*Chain, error) {
	cache, err := raft.NewLogCache(cacheEntries, l)
	if err != nil {
		return nil, err
	}
	c := &Chain{LogStore: cache, applied: applied, snapshot: snapshot}
	if err := c.find(); err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return c, nil
}

// RaftRuns says that raft runs from here on: it panics where it cannot read an entry, so Fatal is told first.
func (l *Log) RaftRuns() { l.checked.running.Store(true) }

// Close closes the files.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
