package node

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
)

// shortFiles is how many files of the log there may be behind a snapshot, and as many again
// before it, beyond those that its bytes fill. Each takes a descriptor, and the list of all is
// written anew whenever one is made.
const shortFiles = 8

const (
	// maxHeldLog bounds the log that is kept because other servers need it, bytes; a quarter
	// of the free space does too.
	maxHeldLog = 1 << 30
	// maxHeldEntries bounds it in entries, in SnapshotEntries.
	maxHeldEntries = 4
)

// entriesLook is how often the entries behind the newest snapshot are counted.
const entriesLook = time.Second

// snapshotRequests is where snapshots are asked for. Raft drops the log behind a snapshot.
type snapshotRequests struct {
	// due has an element when one is due.
	due chan struct{}
	// average is the size of the entries since the snapshot before, bytes; 0: it was not measured yet.
	average atomic.Int64
}

func newSnapshotRequests() *snapshotRequests {
	return &snapshotRequests{due: make(chan struct{}, 1)}
}

// ask asks for a snapshot.
func (s *snapshotRequests) ask() {
	select {
	case s.due <- struct{}{}:
	default:
	}
}

// measured asks for one after so many bytes, of which an entry had so many on average.
func (s *snapshotRequests) measured(average int64) {
	s.average.Store(average)
	s.ask()
}

// compaction takes snapshots, and decides how much of the log is kept.
type compaction struct {
	requests *snapshotRequests
	raft     compactedRaft
	settings *raftSettings
	// newest is the newest snapshot.
	newest func() (at store.SnapshotPlace, ok bool)
	log    logFiles
	// held is how many entries other servers need, see raftnet.Transport.Trailing.
	held func(keep, last, limit uint64) uint64
	// free is how many bytes are left on the disk.
	free func() int64

	snapshotBytes, trailingBytes int64
	snapshotEntries              uint64
	logger                       *slog.Logger
	// taken counts snapshots.
	taken atomic.Uint64
}

// compactedRaft is raft, as far as compaction uses it.
type compactedRaft interface {
	State() raft.RaftState
	AppliedIndex() uint64
	LastIndex() uint64
	Snapshot() raft.SnapshotFuture
}

// logFiles is the files of the log.
type logFiles interface {
	// Begins is the index at which each of them begins; nil: they cannot be told apart.
	Begins() []uint64
}

// manyEntries says whether so many entries are behind the newest snapshot that another is due,
// however small they are.
func (c *compaction) manyEntries() bool {
	newest, _ := c.newest()
	return c.raft.AppliedIndex() >= newest.Index+c.snapshotEntries
}

// manyFiles says whether so many files of the log begin behind the newest snapshot that another
// is due, however little is in them: each leader that was deposed leaves one. Only entries that
// were applied can be dropped.
func (c *compaction) manyFiles() bool {
	begins := c.log.Begins()
	if begins == nil {
		return false
	}
	newest, _ := c.newest()
	applied, files := c.raft.AppliedIndex(), 0
	for _, begin := range begins {
		if newest.Index < begin && begin <= applied {
			files++
		}
	}
	return files > filesOf(c.snapshotBytes)+shortFiles
}

// filesOf is how many full files of the log hold so many bytes.
func filesOf(bytes int64) int { return int((bytes + raftlog.SegmentBytes - 1) / raftlog.SegmentBytes) }

// within is how many entries up to last are in the newest files of the log, of which as many count as are
// kept for so many bytes.
func (c *compaction) within(bytes int64, last uint64) uint64 {
	begins, most := c.log.Begins(), filesOf(bytes)+shortFiles
	if len(begins) <= most {
		return math.MaxUint64
	}
	return last + 1 - min(begins[len(begins)-most], last+1)
}

// run takes a snapshot whenever one is due, until ctx ends.
func (c *compaction) run(ctx context.Context) {
	tick := time.NewTicker(entriesLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if c.manyEntries() || c.manyFiles() {
				c.requests.ask()
			}
		case <-c.requests.due:
			c.snapshot(ctx)
		}
	}
}

// snapshot takes a snapshot, and drops what of the log is kept no longer.
func (c *compaction) snapshot(ctx context.Context) {
	trailing := c.trailing()
	if err := c.settings.change(func(rc *raft.ReloadableConfig) { rc.TrailingLogs = trailing }); err != nil {
		c.logger.Warn("cannot set how much log to keep", "error", err)
	}
	start := time.Now()
	err := c.raft.Snapshot().Error()
	level := slog.LevelDebug
	if err == nil {
		c.taken.Add(1)
	}
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
		level = slog.LevelWarn // the log goes on growing
	}
	c.logger.Log(ctx, level, "snapshot", "took", time.Since(start), "trailing", trailing, "error", err)
}

// trailing is how many entries are kept behind a snapshot. Three bounds hold: bytes, counted in entries of
// the average size; entries, because these may be small or not measured yet; and files, because these
// may be short.
func (c *compaction) trailing() uint64 {
	average := max(1, c.requests.average.Load())
	keep := min(uint64(max(1, c.trailingBytes/average)), max(1, c.snapshotEntries/2))
	last := c.raft.LastIndex()
	keep = min(keep, c.within(c.trailingBytes, last))
	if c.raft.State() != raft.Leader {
		return keep
	}
	limit := min(uint64(min(maxHeldLog, c.free()/4)/average), maxHeldEntries*c.snapshotEntries)
	return c.held(keep, last, min(limit, c.within(maxHeldLog, last)))
}

// raftSettings changes raft's configuration while raft runs. Raft asks its callers to take turns.
type raftSettings struct {
	raft interface {
		ReloadableConfig() raft.ReloadableConfig
		ReloadConfig(raft.ReloadableConfig) error
	}
	mu sync.Mutex
}

func (s *raftSettings) change(change func(rc *raft.ReloadableConfig)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rc := s.raft.ReloadableConfig()
	change(&rc)
	return s.raft.ReloadConfig(rc)
}
