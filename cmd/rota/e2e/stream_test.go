package e2e

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
)

// mapping is a rota map whose lines arrive one by one.
type mapping struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs safeBuffer
}

func (c *cluster) mapping(args ...string) *mapping {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
	c.t.Cleanup(cancel)
	m := &mapping{t: c.t, cmd: c.command(ctx, append([]string{"map"}, args...)...)}
	var err error
	m.in, err = m.cmd.StdinPipe()
	require.NoError(c.t, err)
	out, err := m.cmd.StdoutPipe()
	require.NoError(c.t, err)
	m.out = bufio.NewReader(out)
	m.cmd.Stderr = &m.errs
	require.NoError(c.t, m.cmd.Start())
	return m
}

func (m *mapping) write(line string) {
	m.t.Helper()
	_, err := io.WriteString(m.in, line+"\n")
	require.NoError(m.t, err)
}

func (m *mapping) read() string {
	m.t.Helper()
	line, err := m.out.ReadString('\n')
	require.NoError(m.t, err, m.errs.String())
	return strings.TrimSuffix(line, "\n")
}

func (m *mapping) wait() int {
	m.t.Helper()
	code, err := exitCode(m.cmd.Wait())
	require.NoError(m.t, err)
	return code
}

// job is the one job that there is.
func (c *cluster) job() jsonv1.Job {
	c.t.Helper()
	out := c.ok("job", "list", "-o", "jsonl")
	require.Equal(c.t, 1, strings.Count(out, "\n"), out)
	return parse[jsonv1.Job](c.t, out)
}

// As with xargs and a pipe that stays open, map works on the lines that have arrived.
func TestMapPrintsResultsWhileItsInputIsOpen(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{nil, {"--as-completed"}} {
		c := start(t, localcluster.Config{Servers: 1, Workers: 1})
		m := c.mapping(append(order, "--", "echo", "<{}>")...)
		for _, line := range []string{"a", "b", "c"} {
			m.write(line)
			require.Equal(t, "<"+line+">", m.read())
		}
		require.NoError(t, m.in.Close())
		require.Zero(t, m.wait(), m.errs.String())
		require.Equal(t, "succeeded", c.job().State)
	}
}

func TestMapWhoseResultsNobodyReadsCancelsItsJob(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]bool{"input to come": false, "all input read": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 1})
			// head -1: the reader ends while there is work left.
			read, write, err := os.Pipe()
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
			defer cancel()
			cmd := c.command(ctx, "map", "--", "sh", "-c", "echo {}; test {} = 1 || test {} = 2 || sleep 600")
			in, err := cmd.StdinPipe()
			require.NoError(t, err)
			var errs safeBuffer
			cmd.Stdout, cmd.Stderr = write, &errs
			require.NoError(t, cmd.Start())
			require.NoError(t, write.Close())
			_, err = io.WriteString(in, "1\n")
			require.NoError(t, err)
			line, err := bufio.NewReader(read).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "1\n", line)
			require.NoError(t, read.Close())
			_, err = io.WriteString(in, "2\n3\n")
			require.NoError(t, err)
			if whole {
				require.NoError(t, in.Close())
			}
			code, err := exitCode(cmd.Wait())
			require.NoError(t, err)
			require.Equal(t, 128+int(syscall.SIGPIPE), code, errs.String())
			require.Regexp(t, `rota: .*job \d+ .*was cancelled`, errs.String())
			await(t, "the end of the job", func() bool { return c.job().State == "cancelled" })
		})
	}
}

func TestMapWithAKeyGoesOnUnread(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1})
	sh := exec.Command("sh", "-c", `seq 200 | "$ROTA" map --key k -- sh -c 'sleep 0.0{}; echo {}' | head -1`)
	sh.Env = append(c.command(context.Background(), "version").Env, "ROTA="+binary)
	var errs safeBuffer
	sh.Stderr = &errs
	out, err := sh.Output()
	require.NoError(t, err, errs.String())
	require.Equal(t, "1\n", string(out))
	await(t, "the end of the job", func() bool { return c.job().State == "succeeded" })
}

func TestMapEndsWhenSomebodyCancelsItsJob(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1})
	m := c.mapping("--", "echo", "{}")
	m.write("a")
	require.Equal(t, "a", m.read())
	c.ok("job", "cancel", "1")
	require.NotZero(t, m.wait(), m.errs.String())
	require.Contains(t, m.errs.String(), "cancelled")
}
