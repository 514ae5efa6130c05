package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// onEachLog runs f with each log store.
func onEachLog(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Parallel()
	for kind := range logNames {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := config(t, t.TempDir())
			cfg.LogStore = kind
			f(t, cfg)
		})
	}
}

func TestEachLogKeepsWhatWasAcknowledged(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		n := start(t, cfg)
		submitMany(t, n, "a", "b", "c")
		crash(t, n)
		n = start(t, cfg)
		requireJobs(t, n, 3)
		submitMany(t, n, "d", "e")
		snapshotKeeping(t, n, 1)
		submitMany(t, n, "f", "g")
		stop(t, n)
		index, digest := n.State().Machine().Digest()
		n = start(t, cfg)
		requireJobs(t, n, 7)
		again, digestAgain := n.State().Machine().Digest()
		require.Equal(t, []uint64{index, digest}, []uint64{again, digestAgain})
	})
}

func TestALogThatIsMissingOrOfAnotherKindIsRefused(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		stop(t, start(t, cfg))
		for other := range logNames {
			if other != cfg.LogStore {
				cfg := cfg
				cfg.LogStore = other
				refused(t, cfg, "--log-store "+map[string]string{LogStoreBolt: LogStoreWAL, LogStoreWAL: LogStoreBolt}[other])
			}
		}
		require.NoError(t, os.RemoveAll(in(cfg.DataDir, logNames[cfg.LogStore])))
		refused(t, cfg, "is missing", "join anew")
	})
}

func TestAFolderKeepsItsLogStoreWhereNoneIsNamed(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		n := start(t, cfg)
		submitMany(t, n, "a")
		stop(t, n)
		cfg.LogStore = ""
		n = start(t, cfg)
		requireJobs(t, n, 1)
		stop(t, n)
	})
	t.Run("a new one", func(t *testing.T) {
		t.Parallel()
		cfg := config(t, t.TempDir())
		stop(t, start(t, cfg))
		require.DirExists(t, filepath.Join(cfg.DataDir, logNames[LogStoreWAL]))
	})
}

// Behind a received snapshot raft goes on with entries that do not follow those in the log.
func TestEachLogTakesEntriesBehindASnapshot(t *testing.T) {
	t.Parallel()
	for kind := range logNames {
		dir := t.TempDir()
		log, err := openLog(dir, kind, &identity{HasLog: false}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		entries := func(from, to uint64) (list []*raft.Log) {
			for i := from; i <= to; i++ {
				list = append(list, &raft.Log{Index: i, Term: 1, Data: fmt.Append(nil, i)})
			}
			return list
		}
		require.NoError(t, log.StoreLogs(entries(1, 5)))
		require.NoError(t, log.StoreLogs(entries(6, 7)))
		require.NoError(t, log.StoreLogs(entries(21, 23)))
		require.NoError(t, log.Close())
		log, err = openLog(dir, kind, &identity{HasLog: true}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		last, err := log.LastIndex()
		require.NoError(t, err)
		require.Equal(t, uint64(23), last)
		require.NoError(t, log.DeleteRange(1, 21))
		require.ErrorIs(t, log.GetLog(21, &raft.Log{}), raft.ErrLogNotFound)
		for i := uint64(22); i <= 23; i++ {
			var l raft.Log
			require.NoError(t, log.GetLog(i, &l))
			require.Equal(t, fmt.Append(nil, i), l.Data)
		}
		require.NoError(t, log.Close())
	}
}

// A byte that flips in the files of the log is found when it is opened or read.
func TestAFlippedByteInTheFilesOfTheLogIsFound(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.LogStore = LogStoreWAL
	n := start(t, cfg)
	submitMany(t, n, "a", "needle", "c")
	stop(t, n)
	require.NoError(t, os.Remove(in(cfg.DataDir, "state.db")))
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, logNames[LogStoreWAL], "*.wal"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	data, err := os.ReadFile(files[0])
	require.NoError(t, err)
	at := bytes.Index(data, []byte("needle"))
	require.Positive(t, at)
	data[at] ^= 1
	require.NoError(t, os.WriteFile(files[0], data, 0o600))
	requireWords(t, refusal(t, cfg), "join anew")
}

// boltFile is the file of a log that bbolt keeps.
func boltFile(cfg Config) string {
	if cfg.LogStore == LogStoreWAL {
		return filepath.Join(cfg.DataDir, logNames[LogStoreWAL], "wal-meta.db")
	}
	return filepath.Join(cfg.DataDir, logNames[LogStoreBolt])
}

// bbolt ends the process where it meets such a page, without a word of help.
func TestALogWithDamagedPagesIsRefused(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		n := start(t, cfg)
		submitMany(t, n, "a", "b", "c")
		stop(t, n)
		whole, err := os.ReadFile(boltFile(cfg))
		require.NoError(t, err)
		// A page begins with its number.
		const page = 4096
		used := len(bytes.TrimRight(whole, "\x00"))
		id, err := loadIdentity(cfg.DataDir, cfg.NodeID)
		require.NoError(t, err)
		damaged := 0
		for at := 2 * page; at < used; at += page {
			data := bytes.Clone(whole)
			data[at] ^= 1
			require.NoError(t, os.WriteFile(boltFile(cfg), data, 0o600))
			log, err := openLog(cfg.DataDir, cfg.LogStore, &id, slog.New(slog.DiscardHandler))
			if err == nil { // nobody uses that page
				require.NoError(t, log.Close())
				continue
			}
			damaged++
			requireWords(t, err, "is corrupt", "join anew")
		}
		require.Positive(t, damaged)
		require.NoError(t, os.WriteFile(boltFile(cfg), whole, 0o600))
		requireJobs(t, start(t, cfg), 3)
	})
}

func TestALogThatWasCutShortIsRefused(t *testing.T) {
	onEachLog(t, func(t *testing.T, cfg Config) {
		stop(t, start(t, cfg))
		data, err := os.ReadFile(boltFile(cfg))
		require.NoError(t, err)
		for _, size := range []int{0, 100, 3 * 4096, len(bytes.TrimRight(data, "\x00")) - 10} {
			require.NoError(t, os.WriteFile(boltFile(cfg), data[:size], 0o600))
			requireWords(t, refusal(t, cfg), "is corrupt", "join anew")
		}
		require.NoError(t, os.Remove(boltFile(cfg)))
		requireWords(t, refusal(t, cfg), "is missing", "join anew")
	})
}
