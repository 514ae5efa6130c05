package ports

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tellVariable makes this test's program take ports and tell them.
const tellVariable = "ROTA_TEST_TELL_PORTS"

func TestMain(m *testing.M) {
	n, _ := strconv.Atoi(os.Getenv(tellVariable))
	if n == 0 {
		os.Exit(m.Run())
	}
	for range n {
		port, err := Take(3)
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(port) + "\n")
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // they are its own until it ends
}

// Two processes at once take a fifth of all ports each, and nobody listens on any of them yet.
func TestPortsAreTakenOnce(t *testing.T) {
	t.Parallel()
	first, behind := bounds()
	each := (behind - first) / step / 5
	taken := map[int]bool{}
	var told []*bufio.Scanner
	for range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), tellVariable+"="+strconv.Itoa(each))
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = in.Close()
			require.NoError(t, cmd.Wait())
		})
		told = append(told, bufio.NewScanner(out))
	}
	for _, lines := range told {
		for range each {
			require.True(t, lines.Scan())
			port, err := strconv.Atoi(lines.Text())
			require.NoError(t, err)
			require.False(t, taken[port], "port %d was taken twice", port)
			taken[port] = true
		}
	}
	for range 50 {
		port, err := Take(3)
		require.NoError(t, err)
		require.False(t, taken[port], "port %d was taken by another process", port)
		taken[port] = true
	}
}

// soon waits until a port is found free: a process that is being started has the sockets of this one for
// as long as it has not become another program, those that look at ports among them.
func soon(t *testing.T, free func() bool) {
	t.Helper()
	require.Eventually(t, free, 30*time.Second, time.Millisecond)
}

func TestAPortOnWhichSomebodyListensIsNotTaken(t *testing.T) {
	t.Parallel()
	port, err := Take(3)
	require.NoError(t, err)
	soon(t, func() bool { return Free(port, 3) })
	l, err := net.Listen("tcp", Loopback(port+2))
	require.NoError(t, err)
	require.False(t, Free(port, 3))
	soon(t, func() bool { return Free(port, 2) })
	require.NoError(t, l.Close())
	require.False(t, take(port, 3), "it is taken")
	Release(port)
	Release(port)
	soon(t, func() bool { return take(port, 3) })
	require.False(t, take(lowest, step+1), "others begin behind them")
}

// The system gives the ports of a range to outgoing connections: one of them could take that of a
// server which is down for a moment.
func TestPortsLieOutsideOfThoseOfOutgoingConnections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ low, high, first, behind int }{
		{32_768, 60_999, lowest, end}, // as Linux has it
		{15_001, 65_000, lowest, 15_001},
		{1_024, 20_001, 20_004, end},
		{10_500, 29_999, 30_000, end},
		{11_000, 31_000, unprivileged, lowest},
		{5_000, 40_000, unprivileged, 5_000},
		{1_024, 40_001, 40_004, all},
		{1_024, 65_535, lowest, end}, // nothing is left
	} {
		first, behind := outside(c.low, c.high)
		require.Equal(t, []int{c.first, c.behind}, []int{first, behind}, "%+v", c)
	}
	first, behind := bounds()
	for range 20 {
		port, err := Take(1)
		require.NoError(t, err)
		require.GreaterOrEqual(t, port, first)
		require.Less(t, port, behind)
		Release(port)
	}
}
