//go:build linux

package command

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAKillForWantOfMemoryIsSaidToBeOne, if the kernel's count has risen, for each command that it may have killed.
func TestAKillForWantOfMemoryIsSaidToBeOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memory.events")
	count := func(text string) {
		require.NoError(t, os.WriteFile(path, []byte("low 0\noom 3\noom_kill "+text+"\n"), 0o600))
	}
	count("2")
	r := &Runner{kills: oomKills{path: path, count: 2}}
	killed := func(err string) string {
		res := &Result{Exit: killedExit, Err: err}
		r.explainKill(res)
		return res.Err
	}
	require.Equal(t, "killed by signal SIGKILL; rota did not send it, but the kernel does when no memory is left", killed("killed by signal SIGKILL"))
	require.Equal(t, "exit code 137", killed("exit code 137"))
	count("4")
	for range 2 {
		require.Equal(t, "killed by signal SIGKILL: the kernel has killed a process here just now for want of memory", killed("killed by signal SIGKILL"))
		require.Equal(t, "exit code 137: the kernel has killed a process here just now for want of memory", killed("exit code 137"))
	}
	other := &Result{Exit: 7, Err: "exit code 7"}
	r.explainKill(other)
	require.Equal(t, "exit code 7", other.Err)
	count("5")
	r.NoteKills()
	r.kills.rose = r.kills.rose.Add(-killsTogether)
	require.Equal(t, "exit code 137", killed("exit code 137"), "that kill was noted before")
	require.NoError(t, os.Remove(path))
	r.kills = oomKills{path: path, count: 2}
	require.False(t, r.kills.explain(), "what cannot be read explains nothing")
	r.kills.path = ""
	r.kills.begin()
	if r.kills.path != "" {
		_, err := readKills(r.kills.path)
		require.NoError(t, err)
	}
}
