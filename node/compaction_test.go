package node

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/node/raftlog"
)

// Each file takes a descriptor, however short it is.
func TestTheLogIsBoundedInFiles(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	submit(t, n, "a")
	crash(t, n)
	last := shortFilesOf(t, cfg.DataDir, 40)
	n = start(t, cfg)
	require.GreaterOrEqual(t, n.raft.LastIndex(), last)
	require.Eventually(t, func() bool { return len(n.log.Begins()) <= filesOf(n.cfg.TrailingBytes)+shortFiles }, patience, 10*time.Millisecond)
	require.Greater(t, len(n.log.Begins()), shortFiles/2, "servers that were away for a moment need the newest entries")
	requireJobs(t, n, 1)
	crash(t, n)
	requireJobs(t, start(t, cfg), 1)
}

// shortFilesOf makes the log of a server begin a number of files, and returns its last index.
func shortFilesOf(t *testing.T, dir string, files int) uint64 {
	t.Helper()
	log, err := raftlog.Open(logConfig(t, dir, LogStoreWAL))
	require.NoError(t, err)
	last, err := log.LastIndex()
	require.NoError(t, err)
	var at raft.Log
	require.NoError(t, log.GetLog(last, &at))
	for range files {
		require.NoError(t, log.StoreLogs([]*raft.Log{
			{Index: last + 1, Term: at.Term, Type: raft.LogNoop}, {Index: last + 2, Term: at.Term, Type: raft.LogNoop},
		}))
		last++
		require.NoError(t, log.DeleteRange(last+1, last+1))
	}
	require.NoError(t, log.Close())
	return last
}

// files is the files of a log.
type files []uint64

func (f files) Begins() []uint64 { return f }

func TestHowMuchLogIsKept(t *testing.T) {
	t.Parallel()
	const last = 1_000_000
	short := make(files, 100) // of 10 entries each
	for i := range short {
		short[i] = last + 1 - 10*uint64(len(short)-i)
	}
	for name, c := range map[string]struct {
		average int64
		leads   bool
		log     files
		free    int64
		want    uint64
		// limit is the most that is kept for other servers.
		limit uint64
	}{
		"in bytes":                          {average: 1000, want: 64},
		"in entries, where these are small": {average: 1, want: 5000},
		"in entries, of an unknown size":    {want: 5000},
		"one entry at least":                {average: 1 << 30, want: 1},
		"in files":                          {average: 1, log: short, want: 10 * (1 + shortFiles)},
		"for others, as much as the disk has room for": {
			average: 1000, leads: true, free: 4_000_000, want: 64, limit: 1000,
		},
		"for others, but not without end": {average: 1000, leads: true, free: 1 << 60, want: 64, limit: 4 * 10_000},
		"for others, in files":            {average: 1, leads: true, free: 1 << 60, log: short, want: 10 * (1 + shortFiles), limit: 10 * (filesOfHeld + shortFiles)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &aRaft{last: last}
			if c.leads {
				r.state = raft.Leader
			}
			k := &compaction{
				requests: newSnapshotRequests(), raft: r, log: c.log, free: func() int64 { return c.free },
				trailingBytes: 64_000, snapshotEntries: 10_000,
			}
			k.requests.average.Store(c.average)
			k.held = func(keep, at, limit uint64) uint64 {
				require.True(t, c.leads, "only a leader knows what others need")
				require.EqualValues(t, last, at)
				require.Equal(t, c.limit, limit)
				return keep
			}
			require.Equal(t, c.want, k.trailing())
		})
	}
}

// filesOfHeld is how many files of the log may be kept for other servers.
var filesOfHeld = uint64(filesOf(maxHeldLog))

func TestASnapshotIsDueAfterManyEntriesOrFiles(t *testing.T) {
	t.Parallel()
	newest := store.SnapshotPlace{Index: 100}
	r := &aRaft{applied: 149}
	k := &compaction{
		raft: r, newest: func() (store.SnapshotPlace, bool) { return newest, true }, snapshotEntries: 50, snapshotBytes: 1,
	}
	require.False(t, k.manyEntries())
	r.applied++
	require.True(t, k.manyEntries())

	behind := files{1, 50, 100} // they can be dropped already
	for range shortFiles + 1 {
		behind = append(behind, behind[len(behind)-1]+1)
	}
	k.log = append(behind, r.applied+1) // nor can this one yet
	require.False(t, k.manyFiles())
	k.log = append(behind, r.applied)
	require.True(t, k.manyFiles())
	k.log = files(nil)
	require.False(t, k.manyFiles())
}
