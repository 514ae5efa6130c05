package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// timerCommand returns the arguments of what the timer of systemd runs, with a folder and a number of backups of the test's own.
func timerCommand(t *testing.T, dir, keep string) []string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "systemd", "rota-backup.service"))
	require.NoError(t, err)
	_, command, _ := strings.Cut(string(unit), "\nExecStart=/usr/bin/rota ")
	command, _, _ = strings.Cut(command, "\n")
	command = strings.NewReplacer("${KEEP}", keep, "/var/backups/rota/", dir+"/").Replace(command)
	require.Contains(t, command, dir)
	return strings.Fields(command)
}

// The timer's command runs again and again while clients submit, the leader is killed while a backup is sent, and a server that is
// down is compacted. Each backup has what was acknowledged before it began; one that fails leaves nothing.
func TestTheTimerKeepsBackupsWhileTheLeaderIsKilled(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 4})
	dir := filepath.Join(c.dir, "backups")
	require.NoError(t, os.Mkdir(dir, 0o700))
	submits := submitLoops(2, "s", submitWith(c.client(), task.Spec{Command: []string{"true"}}))
	save := func() bool {
		submits.more(t, 10)
		before := submits.acknowledged()
		out := c.rota(append(timerCommand(t, dir, "2"), "-o", "json")...)
		if out.code != 0 {
			return false
		}
		saved := parse[jsonv1.Snapshot](t, out.stdout)
		again := parse[jsonv1.Snapshot](t, c.ok("cluster", "snapshot", "inspect", saved.File, "-o", "json"))
		require.Equal(t, saved, again)
		require.GreaterOrEqual(t, saved.Jobs, uint64(len(before)))
		return true
	}
	require.True(t, save())
	leader := c.leader()
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		leader.Kill()
	}()
	for saved := 0; saved < 3; {
		if save() {
			saved++
		}
	}
	<-killed
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2, "the newest two, and nothing that is not whole")

	compacted := parse[jsonv1.Compacted](t, c.ok("cluster", "compact", "--data-dir", c.dataDir(leader), "-o", "json"))
	require.NotZero(t, compacted.AfterBytes)
	submits.more(t, 20)
	c.restart(leader)
	submits.more(t, 20)
	c.requireOnce(submits.halt(t))
	c.verify()
}
