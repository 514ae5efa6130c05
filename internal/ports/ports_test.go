package ports

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

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
	const each = (highest - lowest) / step / 5
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

func TestAPortOnWhichSomebodyListensIsNotTaken(t *testing.T) {
	t.Parallel()
	port, err := Take(3)
	require.NoError(t, err)
	require.True(t, Free(port, 3))
	l, err := net.Listen("tcp", Loopback(port+2))
	require.NoError(t, err)
	require.False(t, Free(port, 3))
	require.True(t, Free(port, 2))
	require.NoError(t, l.Close())
	require.False(t, take(port, 3), "it is taken")
	Release(port)
	Release(port)
	require.True(t, take(port, 3))
	require.False(t, take(lowest, step+1), "others begin behind them")
}
