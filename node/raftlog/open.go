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

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/store"
)

// The log stores.
const (
	// LogStoreWAL is files that are only appended to, with one flush an append.
	LogStoreWAL = "wal"
	// LogStoreBolt is a B+tree in one file, with two flushes an append.
	LogStoreBolt = "boltdb"
)

// logNames is the file or folder of each log store in the data folder.
var logNames = map[string]string{LogStoreBolt: "raft.db", LogStoreWAL: "raft-wal"}

// logStoreOf is what keeps the log of a server for which none is named.
func logStoreOf(dir string, id identity) string {
	if id.LogStore != "" {
		return id.LogStore
	}
	if _, err := os.Stat(filepath.Join(dir, logNames[LogStoreBolt])); err == nil {
		return LogStoreBolt
	}
	return LogStoreWAL
}

// logStore is a log on disk, with raft's term and vote.
type logStore interface {
	Stores
	io.Closer
}

// openLog opens the log of a server, or makes it, once. kind may be empty.
func openLog(dir, kind string, id *identity, log *slog.Logger) (logStore, error) {
	if kind == "" {
		kind = logStoreOf(dir, *id)
	}
	path := filepath.Join(dir, logNames[kind])
	if err := otherLog(dir, kind); err != nil {
		return nil, err
	}
	if id.HasLog {
		if err := checkLog(path, kind); err != nil {
			return nil, err
		}
	}
	open := openBolt
	if kind == LogStoreWAL {
		open = openWAL
	}
	s, err := open(path, log)
	if err != nil {
		return nil, fmt.Errorf("open the log %s: %w", path, err)
	}
	if !id.HasLog || id.LogStore != kind {
		id.HasLog, id.LogStore = true, kind
		if err := writeIdentity(dir, *id); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// walMetaFile is what raft-wal keeps in bbolt: term, vote, and which files are the log. It
// would begin anew without it, and remove the files.
const walMetaFile = "wal-meta.db"

// errLogCorrupt says that the files of the log are not what was written.
var errLogCorrupt = errors.New("the log is corrupt")

// checkLog looks at a log that must be there before it is opened.
func checkLog(path, kind string) error {
	file := path
	if kind == LogStoreWAL {
		file = filepath.Join(path, walMetaFile)
	}
	err := store.CheckFile(file, errLogCorrupt)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the log %s is missing, and with it this server's votes and what it acknowledged: restore it, or move the data folder away and let the server join anew", file)
	case errors.Is(err, errLogCorrupt):
		return fmt.Errorf("%w; restore the data folder, or move it away and let the server join anew", err)
	default:
		return err
	}
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
