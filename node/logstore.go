package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm/store"
)

// deleteChunk is how many entries one transaction deletes. Deleting is one write lock
// for as long as it takes, and appends wait for it.
const deleteChunk = 256

// logFile is the name of the log in the data folder.
const logFile = "raft.db"

// openLog opens the log of a server, or makes it, once.
func openLog(dir string, id *identity) (*raftboltdb.BoltStore, error) {
	path := filepath.Join(dir, logFile)
	if _, err := os.Stat(path); id.HasLog && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the log %s is missing, and with it this server's votes and what it acknowledged: restore it, or move the data folder away and let the server join anew", path)
	}
	s, err := raftboltdb.New(raftboltdb.Options{
		Path:                    path,
		MsgpackUseNewTimeFormat: true,
		BoltOptions: &bolt.Options{
			Timeout:         time.Second,
			NoFreelistSync:  true,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: 4 << 30, // address space: growth must not wait for readers
		},
	})
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

// watchedLog is the log with an eye on its disk.
type watchedLog struct {
	raft.LogStore
	fatal func(error)
	// since is when the write under way began, Unix ns; 0: none is.
	since atomic.Int64
	// full says that the last write found no space.
	full atomic.Bool
	// cut says that the end of the log was deleted, and nothing was appended since.
	cut atomic.Bool
	// bytes and writes count what was appended.
	bytes, entries, writes atomic.Int64
}

// StoreLog implements raft.LogStore.
func (w *watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. After a failed fsync nobody knows what the disk
// holds, and trying again would make it look well: the process ends. For want of space
// nothing was written; raft steps back, and goes on when there is space again.
func (w *watchedLog) StoreLogs(logs []*raft.Log) error {
	w.since.Store(time.Now().UnixNano())
	err := w.LogStore.StoreLogs(logs)
	w.since.Store(0)
	w.full.Store(store.IsDiskFull(err))
	switch {
	case err == nil:
		w.cut.Store(false)
	case !store.IsDiskFull(err):
		w.fatal(fmt.Errorf("write the log: %w", err))
	case w.cut.Load():
		// Raft takes what it has deleted for still being there, until it starts anew.
		w.fatal(fmt.Errorf("write the log behind its deleted end: %w: free some space and start the server again", err))
	}
	size := int64(0)
	for _, l := range logs {
		size += int64(len(l.Data))
	}
	w.bytes.Add(size)
	w.entries.Add(int64(len(logs)))
	w.writes.Add(1)
	return err
}

// DeleteRange implements raft.LogStore, in chunks: from the beginning of the log up, or
// from its end down. A crash in between must not leave a hole: raft does not start on
// one.
func (w *watchedLog) DeleteRange(first, last uint64) error {
	end, err := w.LastIndex()
	if err != nil {
		return err
	}
	if last >= end {
		return w.deleteEnd(max(1, first), last) // raft has no entry 0
	}
	for first <= last {
		end := min(last, first+deleteChunk-1)
		if err := w.LogStore.DeleteRange(first, end); err != nil {
			return err
		}
		first = end + 1
	}
	return nil
}

// deleteEnd deletes what contradicts a new leader's log. Raft does not hear of a part
// of it, so what was begun has to be finished.
func (w *watchedLog) deleteEnd(first, last uint64) error {
	for top := last; top >= first; {
		from := first + (top-first)/deleteChunk*deleteChunk
		if err := w.LogStore.DeleteRange(from, top); err != nil {
			if top != last {
				w.fatal(fmt.Errorf("delete the end of the log: %w", err))
			}
			return err
		}
		top = from - 1
	}
	w.cut.Store(true)
	return nil
}

// writing returns for how long the write under way has taken; 0: none is.
func (w *watchedLog) writing() time.Duration { return sinceUnix(w.since.Load()) }

// sinceUnix is the time since a moment in Unix ns; 0 since 0.
func sinceUnix(ns int64) time.Duration {
	if ns == 0 {
		return 0
	}
	return time.Since(time.Unix(0, ns))
}
