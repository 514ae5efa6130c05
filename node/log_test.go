package node

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/node/raftlog"
)

// onEachLog runs f with each log store.
func onEachLog(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Parallel()
	for _, kind := range raftlog.Kinds() {
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
		for _, other := range raftlog.Kinds() {
			if other != cfg.LogStore {
				cfg := cfg
				cfg.LogStore = other
				refused(t, cfg, "--log-store "+map[string]string{LogStoreBolt: LogStoreWAL, LogStoreWAL: LogStoreBolt}[other])
			}
		}
		require.NoError(t, os.RemoveAll(in(cfg.DataDir, raftlog.FileName(cfg.LogStore))))
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
		require.DirExists(t, filepath.Join(cfg.DataDir, raftlog.FileName(LogStoreWAL)))
	})
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
	files, err := filepath.Glob(filepath.Join(cfg.DataDir, raftlog.FileName(LogStoreWAL), "*.wal"))
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
		return filepath.Join(cfg.DataDir, raftlog.FileName(LogStoreWAL), "wal-meta.db")
	}
	return filepath.Join(cfg.DataDir, raftlog.FileName(LogStoreBolt))
}

// bbolt ends the process when it reads such a page, without a useful message.
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
		damaged := 0
		for at := 2 * page; at < used; at += page {
			data := bytes.Clone(whole)
			data[at] ^= 1
			require.NoError(t, os.WriteFile(boltFile(cfg), data, 0o600))
			log, err := raftlog.Open(logConfig(t, cfg.DataDir, cfg.LogStore))
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
