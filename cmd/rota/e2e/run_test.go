package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
)

// state is the state of a job as job get shows it.
func (c *cluster) state(id uint64) string {
	c.t.Helper()
	return parse[jsonv1.Job](c.t, c.ok("job", "get", number(id), "-o", "json")).State
}

// newest is the newest job.
func (c *cluster) newest() uint64 {
	c.t.Helper()
	jobs := c.list()
	require.NotEmpty(c.t, jobs)
	return jobs[0].ID
}

// A cancel ends the whole process group of a running command, even if it ignores SIGTERM. A wait
// for the job says that the job was cancelled.
func TestCancelEndsTheProcessGroup(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 2})
	for name, script := range map[string]string{
		"willing":  `sh -c 'sleep 300 & sleep 300' & sleep 300`,
		"stubborn": `trap "" TERM; sh -c 'trap "" TERM; sleep 300 & wait' & sleep 300`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c.in(t)
			id := c.submit("--name", name, "--", "sh", "-c", script)
			mark := "ROTA_JOB_ID=" + number(id)
			await(t, "the command's processes", func() bool { return len(processes(c.mark(), mark)) >= 4 })
			begin := time.Now()
			c.ok("job", "cancel", "--wait", number(id))
			require.Empty(t, processes(c.mark(), mark), "the job is over and its processes are not")
			t.Logf("ended %v after the cancel", time.Since(begin))
			out := c.rota("job", "wait", number(id))
			require.Equal(t, 4, out.code, out.stderr)
			require.Contains(t, out.stderr, "was cancelled")
			require.Equal(t, "cancelled", c.state(id))
		})
	}
}

// The exit code of run is that of the command, or says why rota itself failed.
func TestRunExitCodes(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 4})
	here, err := os.Getwd()
	require.NoError(t, err)
	for name, test := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"success":            {[]string{"--", "echo", "hello"}, 0, "hello\n", ""},
		"own code":           {[]string{"--", "sh", "-c", "echo out; echo err >&2; exit 7"}, 7, "out\n", "err\n"},
		"own code 125":       {[]string{"--", "sh", "-c", "exit 125"}, 125, "", "exit code 125"},
		"signal":             {[]string{"--", "sh", "-c", "kill -9 $$"}, 128 + 9, "", "SIGKILL"},
		"standard input":     {[]string{"--payload", "b\na\n", "--", "sort"}, 0, "a\nb\n", ""},
		"no such command":    {[]string{"--", "rota-e2e-no-such-command"}, 125, "", "not found"},
		"own timeout":        {[]string{"--timeout", "200ms", "--", "sleep", "300"}, 125, "", "timeout"},
		"expired":            {[]string{"--expire", "200ms", "--require", "gpu=none", "--", "true"}, 4, "", "cancelled"},
		"folder here":        {[]string{"--cwd", ".", "--", "pwd"}, 0, here + "\n", ""},
		"nobody there":       {[]string{"--addr", "127.0.0.1:1", "--request-timeout", "300ms", "--", "true"}, 125, "", "127.0.0.1:1"},
		"mistake in a flag":  {[]string{"--retries", "-1", "--", "true"}, 2, "", "--retries"},
		"no command":         {nil, 2, "", "no command"},
		"environment":        {[]string{"--env", "A=b c", "--", "sh", "-c", `printf %s "$A"`}, 0, "b c", ""},
		"no secrets of ours": {[]string{"--", "sh", "-c", `printf %s "$SECRET"`}, 0, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out := c.in(t).rota(append([]string{"run"}, test.args...)...)
			require.Equal(t, test.code, out.code, out.stderr)
			require.Equal(t, test.stdout, out.stdout)
			require.Contains(t, out.stderr, test.stderr)
		})
	}
}

// When the wait for a job times out, or is interrupted, the job goes on.
func TestJobOutlivesItsWait(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 4})
	gate, open := c.gate()
	script := []string{"--", "sh", "-c", waitForFile, "sh", gate}

	out := c.rota(append([]string{"run", "--name", "timed", "--wait-timeout", "200ms"}, script...)...)
	require.Equal(t, 124, out.code, out.stderr)
	require.Contains(t, out.stderr, "goes on")
	timed := c.newest()
	require.Contains(t, out.stderr, "rota job wait "+number(timed))

	ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
	defer cancel()
	var errs safeBuffer
	cmd := c.command(ctx, append([]string{"run", "--name", "interrupted"}, script...)...)
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	var interrupted uint64
	await(t, "the second job", func() bool {
		interrupted = c.newest()
		return interrupted != timed && len(processes(c.mark(), "ROTA_JOB_ID="+number(interrupted))) > 0
	})
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	code, err := exitCode(cmd.Wait())
	require.NoError(t, err)
	require.Equal(t, 130, code, errs.String())
	require.Contains(t, errs.String(), "rota job cancel "+number(interrupted))

	for _, id := range []uint64{timed, interrupted} {
		require.Equal(t, "running", c.state(id))
		require.NotEmpty(t, processes(c.mark(), "ROTA_JOB_ID="+number(id)))
	}
	open()
	for _, id := range []uint64{timed, interrupted} {
		require.Zero(t, c.rota("job", "wait", number(id)).code)
		require.NotEmpty(t, c.ok("job", "results", "--raw", number(id)))
	}
	require.Equal(t, 5, c.rota("job", "wait", "999999").code)
}

// demoLimit is how long the tour may take.
const demoLimit = time.Minute

// The tour ends well, in less than a minute, and leaves no process and no folder.
func TestDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), demoLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	t.Logf("the tour took %v", time.Since(begin))
	for _, line := range []string{"exactly once", "all equal to those computed here", "were not restarted"} {
		require.Contains(t, string(out), line)
	}
	await(t, "the end of all processes", func() bool { return len(processes("TMPDIR="+dir)) == 0 })
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// A tour that is interrupted ends soon, with exit code 130, and leaves nothing either.
func TestInterruptedDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), demoLimit)
	defer cancel()
	var out safeBuffer
	cmd := exec.CommandContext(ctx, binary, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	await(t, "the data job", func() bool { return strings.Contains(out.String(), "a process for each") })
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	code, err := exitCode(cmd.Wait())
	require.NoError(t, err)
	require.Equal(t, 130, code, out.String())
	await(t, "the end of all processes", func() bool { return len(processes("TMPDIR="+dir)) == 0 })
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}
