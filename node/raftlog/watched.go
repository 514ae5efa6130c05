package raftlog

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/internal/latency"
	"github.com/rota-scheduler/rota/internal/stopwatch"
)

// deleteChunk is how many entries one transaction of a B+tree deletes. Deleting is one
// write lock for as long as it takes, and appends wait for it. Files go as a whole.
const deleteChunk = 256

func chunkOf(kind string) uint64 {
	if kind == WAL {
		return 1 << 40
	}
	return deleteChunk
}

// watchedLog is the log with an eye on its disk.
type watchedLog struct {
	raft.LogStore
	fatal func(error)
	// chunk is how many entries are deleted at once.
	chunk uint64
	// write is the one under way.
	write stopwatch.Stopwatch
	// took is how long writes have taken.
	took latency.Histogram
	// full says that the last write found no space, or no descriptor.
	full atomic.Bool
	// cut says that the end of the log was deleted, and nothing was appended since.
	cut atomic.Bool
}

// StoreLog implements raft.LogStore.
func (w *watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. After a failed fsync nobody knows what the disk
// holds, and trying again would make it look well: the process ends. For want of space,
// or of a descriptor for the log's next file, nothing was written; raft steps back, and goes on when there is space again.
func (w *watchedLog) StoreLogs(logs []*raft.Log) error {
	w.write.Start()
	began := time.Now()
	err := w.LogStore.StoreLogs(logs)
	w.write.Stop()
	w.took.Add(time.Since(began))
	w.full.Store(store.IsScarce(err))
	switch {
	case err == nil:
		w.cut.Store(false)
	case !store.IsScarce(err):
		w.fatal(fmt.Errorf("write the log: %w", err))
	case w.cut.Load():
		// Raft takes what it has deleted for still being there, until it starts anew.
		w.fatal(fmt.Errorf("write the log behind its deleted end: %w: free some space and start the server again", err))
	}
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
		end := min(last, first+w.chunk-1)
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
		from := first + (top-first)/w.chunk*w.chunk
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

// Writing returns for how long the write under way has taken; 0: none is.
func (w *watchedLog) Writing() time.Duration { return w.write.Running() }

// WriteLatency is how long writes have taken since the start, with their syncs.
func (w *watchedLog) WriteLatency() latency.Reading { return w.took.Read() }

// Full says that the last write found no space, or no descriptor.
func (w *watchedLog) Full() bool { return w.full.Load() }
