package node

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store/backup"
)

// backupOf is a backup of what a server has.
func backupOf(t *testing.T, n *Node) []byte {
	t.Helper()
	b, err := n.Backup()
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	var file bytes.Buffer
	m := &backup.Manifest{
		TakenAt: time.Now(), NodeID: n.NodeID(), ClusterID: b.Meta.ClusterId, Index: b.Meta.AppliedIndex, Term: b.Meta.AppliedTerm,
		LogVersion: b.Meta.Version, StateFormat: b.Meta.Format, StateBytes: b.Size,
	}
	require.NoError(t, backup.Write(&file, m, b))
	return file.Bytes()
}

// newFolder is a folder that is not there yet.
func newFolder(t *testing.T) *NewFolder {
	return &NewFolder{Dir: filepath.Join(t.TempDir(), "data"), NodeID: "n1", PeerAddr: "127.0.0.1:2", Logger: slog.New(slog.DiscardHandler)}
}

// goesOn starts the server of a new folder, which must serve.
func goesOn(t *testing.T, f *NewFolder, made NewCluster) *Node {
	t.Helper()
	cfg := config(t, f.Dir)
	cfg.NodeID = f.NodeID
	n := start(t, cfg)
	m := n.State().Machine()
	require.Equal(t, made.ClusterID, m.ClusterID())
	require.Empty(t, m.CheckInvariants())
	require.Greater(t, n.Term(), made.Term)
	return n
}

func TestARestoredClusterHasWhatTheBackupHad(t *testing.T) {
	t.Parallel()
	for _, logStore := range []string{LogStoreWAL, LogStoreBolt} {
		old := start(t, config(t, t.TempDir()))
		submitMany(t, old, "a", "b", "c")
		file := backupOf(t, old)
		later := submit(t, old, "behind the backup")
		f := newFolder(t)
		f.LogStore = logStore
		made, taken, err := Restore(bytes.NewReader(file), f)
		require.NoError(t, err)
		require.Equal(t, old.State().Machine().ClusterID(), taken.ClusterID)
		require.Equal(t, taken.ClusterID, made.FromCluster)
		require.Equal(t, 3, made.Jobs)

		n := goesOn(t, f, made)
		requireJobs(t, n, 3)
		require.Equal(t, uint64(1), submit(t, n, "a"), "request keys are there")
		require.Greater(t, submit(t, n, "d"), later+1000)
		// It is a server like any other.
		require.NoError(t, n.raft.Snapshot().Error())
		crash(t, n)
		requireJobs(t, goesOn(t, f, made), 3)
	}
}

func TestARestoreIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	old := start(t, config(t, t.TempDir()))
	submitMany(t, old, "a")
	file := backupOf(t, old)
	file[len(file)/2] ^= 1
	f := newFolder(t)
	for _, damaged := range [][]byte{file, file[:len(file)/2], nil} {
		_, _, err := Restore(bytes.NewReader(damaged), f)
		require.Error(t, err)
		left, err := os.ReadDir(filepath.Dir(f.Dir))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	require.NoError(t, os.MkdirAll(f.Dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(f.Dir, "other"), nil, 0o600))
	_, _, err := Restore(bytes.NewReader(backupOf(t, old)), f)
	require.ErrorContains(t, err, "is not empty")
}

// contentOf is what is in a folder.
func contentOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		out[path] = string(content)
		return err
	}))
	return out
}

func TestRecoverTakesWhatTheLogHas(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	old := start(t, cfg)
	submitMany(t, old, "a", "b", "c")
	index, _, _ := old.State().Machine().Applied()
	crash(t, old) // state.db may have none of it
	before := contentOf(t, cfg.DataDir)

	s, err := OpenSurvivor(cfg.DataDir, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	survey, err := s.Survey()
	require.NoError(t, err)
	require.Equal(t, []string{"n1"}, survey.Voters)
	require.GreaterOrEqual(t, survey.Last, index)
	f := newFolder(t)
	f.NodeID = "n9"
	made, err := s.Recover(f)
	require.NoError(t, err)
	require.Equal(t, index, made.FromIndex)
	require.NoError(t, s.Close())
	for path, content := range contentOf(t, cfg.DataDir) {
		require.True(t, before[path] == content, "%s has changed", path)
	}
	n := goesOn(t, f, made)
	requireJobs(t, n, 3)
	require.EqualValues(t, fsm.CauseRecover, n.State().Machine().Incarnation().Cause)
}

func TestRecoverRefusesWhatIsNoServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := OpenSurvivor(dir, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "no data folder")
	_, err = Compact(dir)
	require.ErrorContains(t, err, "no data folder")
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	_, err = OpenSurvivor(cfg.DataDir, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "in use by another process")
	require.NotNil(t, n)
}

func TestCompactKeepsTheState(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	n := start(t, cfg)
	submitMany(t, n, "a", "b", "c")
	require.NoError(t, n.State().Flush())
	index, digest := n.State().Machine().Digest()
	crash(t, n)
	c, err := Compact(cfg.DataDir)
	require.NoError(t, err)
	require.LessOrEqual(t, c.After, c.Before)
	n = start(t, cfg)
	requireJobs(t, n, 3)
	at, again := n.State().Machine().Digest()
	if at == index {
		require.Equal(t, digest, again)
	}
}

func TestInspectReadsToTheEnd(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	submitMany(t, n, "a")
	file := backupOf(t, n)
	m, err := Inspect(bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, n.State().Machine().ClusterID(), m.ClusterID)
	_, err = Inspect(bytes.NewReader(file[:len(file)-1]))
	require.ErrorIs(t, err, backup.ErrDamaged)
	_, err = Inspect(io.LimitReader(bytes.NewReader(file), 5))
	require.ErrorIs(t, err, backup.ErrDamaged)
}
