package machines_test

import (
	"bytes"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/machines"
)

func TestMain(m *testing.M) {
	machines.Main()
	os.Exit(m.Run())
}

// run runs a shell command on a machine.
func run(t *testing.T, m *machines.Machine, command string) string {
	t.Helper()
	out, err := m.Command("sh", "-c", command).CombinedOutput()
	require.NoError(t, err, "%s\n%s", command, out)
	return string(out)
}

func TestMachinesHaveTheirOwnNamesAddressesAndFiles(t *testing.T) {
	t.Parallel()
	lan := machines.New(t, machines.Config{}, "a.example", "b.example")
	a, b := lan.Machine("a.example"), lan.Machine("b.example")
	require.Equal(t, "a.example\n", run(t, a, "hostname"))
	require.Contains(t, run(t, a, "ip -br addr show eth0"), a.Addr+"/24")
	require.Contains(t, run(t, b, "ip -br addr show eth0"), b.Addr6+"/64")
	require.Contains(t, run(t, a, "getent hosts b.example"), b.Addr)

	run(t, a, "echo of a > /etc/own")
	require.NoFileExists(t, b.Path("/etc/own"))
	require.NoFileExists(t, "/etc/own")
	require.FileExists(t, a.Path("/etc/own"))

	require.Equal(t, "b.example\n", run(t, a, "ssh root@b.example hostname"))
	run(t, a, "mkdir d && echo copied > d/f && scp -r d root@b.example:/srv/d && ssh b.example test -f /srv/d/f")
	require.Equal(t, "copied\n", run(t, b, "cat /srv/d/f"))
	out, err := a.Command("ssh", "b.example", "exit 7").CombinedOutput()
	require.ErrorContains(t, err, "exit status 7", "%s", out)
}

func TestACableThatIsPulledCutsAMachineOff(t *testing.T) {
	t.Parallel()
	lan := machines.New(t, machines.Config{}, "a.example", "b.example")
	a := lan.Machine("a.example")
	reaches := func() bool {
		// Nobody listens: a machine that is there refuses at once.
		out, _ := a.Command("bash", "-c", "timeout 2 bash -c '</dev/tcp/b.example/1'; echo $?").Output()
		return string(out) == "1\n"
	}
	eventually(t, reaches)
	lan.Cut("b.example")
	eventually(t, func() bool { return !reaches() })
	lan.Heal("b.example")
	eventually(t, reaches)
}

func TestACaptureSeesWhatMachinesSayToEachOther(t *testing.T) {
	t.Parallel()
	lan := machines.New(t, machines.Config{}, "a.example", "b.example")
	var mu sync.Mutex
	var seen bool
	stop := lan.Capture(func(frame []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen = seen || bytes.Contains(frame, []byte("swordfish"))
	})
	// Nobody listens for it, but it was said.
	run(t, lan.Machine("a.example"), "bash -c 'echo swordfish >/dev/udp/b.example/9'")
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return seen
	})
	stop()
}

func TestAMachineBootsSystemd(t *testing.T) {
	t.Parallel()
	lan := machines.New(t, machines.Config{Boot: true}, "a.example")
	a := lan.Machine("a.example")
	require.Equal(t, "systemd\n", run(t, a, "cat /proc/1/comm"))
	run(t, a, "systemd-run --wait --unit=probe -p ProtectSystem=strict -p PrivateTmp=yes -p DynamicUser=yes true")
}

// eventually waits until a condition is true.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 30*time.Second, 50*time.Millisecond)
}
