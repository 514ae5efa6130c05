package node

import (
	"fmt"
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

// openLog opens the log in dir.
func openLog(dir string) (*raftboltdb.BoltStore, error) {
	path := filepath.Join(dir, "raft.db")
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
	if err != nil && !store.IsDiskFull(err) {
		w.fatal(fmt.Errorf("write the log: %w", err))
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

// DeleteRange implements raft.LogStore, in chunks.
func (w *watchedLog) DeleteRange(first, last uint64) error {
	for first <= last {
		end := min(last, first+deleteChunk-1)
		if err := w.LogStore.DeleteRange(first, end); err != nil {
			return err
		}
		first = end + 1
	}
	return nil
}

// writing returns for how long the write under way has taken; 0: none is.
func (w *watchedLog) writing() time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}
