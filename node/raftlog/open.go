package raftlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/store"
)

// The kinds of log.
const (
	// WAL is files that are only appended to, with one flush an append.
	WAL = "wal"
	// Bolt is a B+tree in one file, with two flushes an append.
	Bolt = "boltdb"
)

// Kinds are the kinds of log that there are.
func Kinds() []string { return []string{WAL, Bolt} }

// FileName is the file or folder of a kind of log in the data folder; "": there is no such kind.
func FileName(kind string) string {
	switch kind {
	case WAL:
		return "raft-wal"
	case Bolt:
		return "raft.db"
	default:
		return ""
	}
}

// file is a log on disk, with raft's term and vote.
type file interface {
	Stores
	io.Closer
}

// kindOf is what keeps the log of a server for which none is named.
func kindOf(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, FileName(Bolt))); err == nil {
		return Bolt
	}
	return WAL
}

// openFile opens the file or folder of a log, or makes it, once, and says of which kind it is.
func openFile(cfg Config) (file, string, error) {
	kind := cfg.Kind
	if kind == "" {
		kind = kindOf(cfg.Dir)
	}
	path := filepath.Join(cfg.Dir, FileName(kind))
	if err := otherLog(cfg.Dir, kind); err != nil {
		return nil, "", err
	}
	if cfg.Made {
		if err := checkLog(path, kind); err != nil {
			return nil, "", err
		}
	}
	open := openBolt
	if kind == WAL {
		open = openWAL
	}
	f, err := open(path, cfg)
	if err != nil {
		return nil, "", fmt.Errorf("open the log %s: %w", path, err)
	}
	return f, kind, nil
}

// walMetaFile is what raft-wal keeps in bbolt: term, vote, and which files are the log. It
// would begin anew without it, and remove the files.
const walMetaFile = "wal-meta.db"

// errCorrupt says that the files of the log are not what was written.
var errCorrupt = errors.New("the log is corrupt")

// checkLog looks at a log that must be there before it is opened.
func checkLog(path, kind string) error {
	file := path
	if kind == WAL {
		file = filepath.Join(path, walMetaFile)
	}
	err := store.CheckFile(file, errCorrupt)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the log %s is missing, and with it this server's votes and what it acknowledged: restore it, or move the data folder away and let the server join anew", file)
	case errors.Is(err, errCorrupt):
		return fmt.Errorf("%w; restore the data folder, or move it away and let the server join anew", err)
	default:
		return err
	}
}

// otherLog refuses a folder that has a log of another kind: it is the one with this
// server's votes.
func otherLog(dir, kind string) error {
	for _, other := range Kinds() {
		if other == kind {
			continue
		}
		name := FileName(other)
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("the log in %s is %s: start this server with --log-store %s, or move the folder away and let the server join anew with the other one", dir, name, other)
		}
	}
	return nil
}

func openBolt(path string, _ Config) (file, error) {
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
