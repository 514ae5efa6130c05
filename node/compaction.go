package node

import (
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/node/raftlog"
)

// shortFiles is how many files of the log there may be, behind a snapshot and as many again
// before it, beyond those that its bytes fill: each takes a descriptor, and all are written
// down again whenever one is made.
const shortFiles = 8

const (
	// maxHeldLog bounds the log that is kept because other servers need it, bytes; a quarter
	// of the free space does too.
	maxHeldLog = 1 << 30
	// maxHeldEntries bounds it in entries, in SnapshotEntries.
	maxHeldEntries = 4
)

// snapshotWanted asks for a snapshot, behind which raft drops the log.
func (n *Node) snapshotWanted() {
	select {
	case n.snapshotCh <- struct{}{}:
	default:
	}
}

// entriesLook is how often the entries behind the newest snapshot are counted.
const entriesLook = time.Second

// manyEntries says whether so many entries are behind the newest snapshot that another is due,
// however small they are.
func (n *Node) manyEntries() bool {
	newest, _ := n.snapshots.Newest()
	return n.raft.AppliedIndex() >= newest.Index+n.cfg.SnapshotEntries
}

// manyFiles says whether so many files of the log begin behind the newest snapshot that another
// is due, however little is in them: each leader that was deposed leaves one. Only entries that
// were applied can be dropped.
func (n *Node) manyFiles() bool {
	begins := n.log.Begins()
	if begins == nil {
		return false
	}
	newest, _ := n.snapshots.Newest()
	applied, files := n.raft.AppliedIndex(), 0
	for _, begin := range begins {
		if newest.Index < begin && begin <= applied {
			files++
		}
	}
	return files > filesOf(n.cfg.SnapshotBytes)+shortFiles
}

// filesOf is how many full files of the log hold so many bytes.
func filesOf(bytes int64) int { return int((bytes + raftlog.SegmentBytes - 1) / raftlog.SegmentBytes) }

// within is how many entries up to last are in the newest files of the log: in as many as are
// kept for so many bytes.
func (n *Node) within(bytes int64, last uint64) uint64 {
	begins, most := n.log.Begins(), filesOf(bytes)+shortFiles
	if len(begins) <= most {
		return math.MaxUint64
	}
	return last + 1 - min(begins[len(begins)-most], last+1)
}

func (n *Node) runSnapshots() {
	tick := time.NewTicker(entriesLook)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
			if n.manyEntries() || n.manyFiles() {
				n.snapshotWanted()
			}
		case <-n.snapshotCh:
			trailing := n.trailing()
			if err := n.reload(func(rc *raft.ReloadableConfig) { rc.TrailingLogs = trailing }); err != nil {
				n.cfg.Logger.Warn("cannot set how much log to keep", "error", err)
			}
			start := time.Now()
			err := n.raft.Snapshot().Error()
			level := slog.LevelDebug
			if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
				level = slog.LevelWarn // the log goes on growing
			}
			n.cfg.Logger.Log(n.ctx, level, "snapshot", "took", time.Since(start), "trailing", trailing, "error", err)
		}
	}
}

// trailing is how many entries are kept behind a snapshot. Bounds are in bytes, and entries
// as large as those of late; in entries, where these are small, or none has been measured; and
// in files, where these are short.
func (n *Node) trailing() uint64 {
	average := max(1, n.average.Load())
	keep := min(uint64(max(1, n.cfg.TrailingBytes/average)), max(1, n.cfg.SnapshotEntries/2))
	last := n.raft.LastIndex()
	keep = min(keep, n.within(n.cfg.TrailingBytes, last))
	if n.raft.State() != raft.Leader {
		return keep
	}
	limit := min(uint64(min(maxHeldLog, freeBytes(n.cfg.DataDir)/4)/average), maxHeldEntries*n.cfg.SnapshotEntries)
	return n.transport.Trailing(keep, last, min(limit, n.within(maxHeldLog, last)))
}

// reload changes raft's configuration. Raft asks its callers to take turns.
func (n *Node) reload(change func(rc *raft.ReloadableConfig)) error {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	rc := n.raft.ReloadableConfig()
	change(&rc)
	return n.raft.ReloadConfig(rc)
}
