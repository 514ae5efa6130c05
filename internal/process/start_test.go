package process

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProgramHasAGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, Start(cmd))
	group, err := syscall.Getpgid(cmd.Process.Pid)
	require.NoError(t, err)
	require.Equal(t, cmd.Process.Pid, group)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

func TestWhatIsSetForUsersIsNotForServers(t *testing.T) {
	t.Setenv("ROTA_ADDR", "127.0.0.1:7420")
	t.Setenv("OTHER", "kept")
	env := Environ()
	require.Contains(t, env, "OTHER=kept")
	for _, e := range env {
		require.False(t, strings.HasPrefix(e, "ROTA_"), e)
	}
}
