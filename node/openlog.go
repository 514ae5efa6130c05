package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	bolt "go.etcd.io/bbolt"
)

// The log stores.
const (
	// LogStoreBolt is a B+tree in one file, with two flushes an append.
	LogStoreBolt = "boltdb"
	// LogStoreWAL is files that are only appended to, with one flush an append.
	LogStoreWAL = "wal"
)

// logNames is the file or folder of each log store in the data folder.
var logNames = map[string]string{LogStoreBolt: "raft.db", LogStoreWAL: "raft-wal"}

// logStore is a log on disk, with raft's term and vote.
type logStore interface {
	Stores
	io.Closer
}

// openLog opens the log of a server, or makes it, once.
func openLog(dir, kind string, id *identity, log *slog.Logger) (logStore, error) {
	path := filepath.Join(dir, logNames[kind])
	if err := otherLog(dir, kind); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); id.HasLog && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the log %s is missing, and with it this server's votes and what it acknowledged: restore it, or move the data folder away and let the server join anew", path)
	}
	open := openBolt
	if kind == LogStoreWAL {
		open = openWAL
	}
	s, err := open(path, log)
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", path, err)
	}
	if !id.HasLog {
		id.HasLog = true
		if err := writeIdentity(dir, *id); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// otherLog refuses a folder that has a log of another kind: it is the one with this
// server's votes.
func otherLog(dir, kind string) error {
	for other, name := range logNames {
		if other == kind {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("the log in %s is %s: start this server with --log-store %s, or move the folder away and let the server join anew with the other one", dir, name, other)
		}
	}
	return nil
}

func openBolt(path string, _ *slog.Logger) (logStore, error) {
	return raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		MsgpackUseNewTimeFormat: true,
		BoltOptions: &bolt.Options{
			Timeout:         time.Second,
			NoFreelistSync:  true,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: 4 << 30, // address space: growth must not wait for readers
		},
	})
}

func openWAL(path string, log *slog.Logger) (logStore, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	w, err := wal.Open(path, wal.WithLogger(newRaftLogger(log)))
	if err != nil {
		return nil, err
	}
	return gapless{w}, nil
}

// gapless is a log that starts anew where raft goes on behind a received snapshot: raft
// leaves a gap there, which files that are only appended to cannot have. They could say
// so (raft.MonotonicLogStore), but then raft deletes the whole log with each snapshot
// that it receives, also entries behind it, which this server may have acknowledged.
type gapless struct{ *wal.WAL }

// IsMonotonic implements raft.MonotonicLogStore.
func (g gapless) IsMonotonic() bool { return false }

// GetLog implements raft.LogStore. What was deleted is gone, though its file is still there.
func (g gapless) GetLog(index uint64, l *raft.Log) error {
	first, err := g.FirstIndex()
	switch {
	case err != nil:
		return err
	case index < first:
		return raft.ErrLogNotFound
	}
	return g.WAL.GetLog(index, l)
}

// StoreLog implements raft.LogStore.
func (g gapless) StoreLog(l *raft.Log) error { return g.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. What is before a gap is in the snapshot.
func (g gapless) StoreLogs(logs []*raft.Log) error {
	last, err := g.LastIndex()
	if err != nil {
		return err
	}
	if last > 0 && len(logs) > 0 && logs[0].Index > last+1 {
		if err := g.DeleteRange(1, last); err != nil {
			return err
		}
	}
	return g.WAL.StoreLogs(logs)
}
