package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/internal/process"
)

// systemd reads what a service says at a socket whose path is in the environment.
func TestSystemdHearsWhenAServerServesAndWhenItEnds(t *testing.T) {
	t.Parallel()
	program.DependOnSources(t)
	dir := t.TempDir()
	first, err := ports.Take(3)
	require.NoError(t, err)
	path := filepath.Join(dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer func() { _ = socket.Close() }()
	addr := ports.Loopback(first)
	cmd := exec.Command(binary, "server", "start", "--node-id", "n1", "--data-dir", filepath.Join(dir, "data"), "--bootstrap-expect", "1",
		"--addr", addr, "--peer-addr", ports.Loopback(first+1), "--http-addr", ports.Loopback(first+2))
	cmd.Env = append(process.Environ(), "NOTIFY_SOCKET="+path)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()

	hear := func() string {
		require.NoError(t, socket.SetReadDeadline(time.Now().Add(within)))
		buf := make([]byte, 100)
		n, err := socket.Read(buf)
		require.NoError(t, err)
		return string(buf[:n])
	}
	require.Equal(t, "READY=1", hear())
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err, "it said that it serves")
	require.NoError(t, conn.Close())
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "STOPPING=1", hear())
	require.NoError(t, cmd.Wait())
}
