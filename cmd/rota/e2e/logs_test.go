package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/internal/localcluster"
)

// follower is a rota job logs -f that is read line by line.
type follower struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *bufio.Reader
	errs safeBuffer
}

func (c *cluster) following(args ...string) *follower {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
	c.t.Cleanup(cancel)
	f := &follower{t: c.t, cmd: c.command(ctx, append([]string{"job", "logs", "-f"}, args...)...)}
	out, err := f.cmd.StdoutPipe()
	require.NoError(c.t, err)
	f.out = bufio.NewReader(out)
	f.cmd.Stderr = &f.errs
	require.NoError(c.t, f.cmd.Start())
	return f
}

func (f *follower) line() string {
	f.t.Helper()
	line, err := f.out.ReadString('\n')
	require.NoError(f.t, err, f.errs.String())
	return line
}

func (f *follower) wait() int {
	f.t.Helper()
	code, err := exitCode(f.cmd.Wait())
	require.NoError(f.t, err)
	return code
}

// A task prints a numbered line every now and then while leaders are killed. Readers at each server, who have begun
// before the task, get every line once.
func TestLogsFollowThroughALeaderKill(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 1, Slots: 2})
	dir := t.TempDir()
	go1, go2 := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	const lines = 2000
	script := fmt.Sprintf("while ! test -e %s; do sleep 0.01; done; for i in $(seq 1 %d); do echo $i; done; while ! test -e %s; do sleep 0.01; done; for i in $(seq %d %d); do echo $i; done", go1, lines, go2, lines+1, 2*lines)
	id := c.submit("--", "sh", "-c", script)
	var readers []*follower
	for _, addr := range c.Addrs() {
		readers = append(readers, c.following("--addr", addr+","+strings.Join(c.Addrs(), ","), number(id)))
	}
	require.NoError(t, os.WriteFile(go1, nil, 0o600))
	read := func(from, to int) {
		for _, r := range readers {
			for i := from; i <= to; i++ {
				require.Equal(t, fmt.Sprintln(i), r.line())
			}
		}
	}
	read(1, lines)
	c.leader().Kill()
	require.NoError(t, os.WriteFile(go2, nil, 0o600))
	read(lines+1, 2*lines)
	for _, r := range readers {
		require.Zero(t, r.wait(), r.errs.String())
	}
	out := c.ok("job", "logs", number(id), "--tail", "1")
	require.Equal(t, fmt.Sprintln(2*lines), out)
}

// Without -f it ends at once, also while the task runs. Each attempt has a log of its own.
func TestLogsOfEachAttempt(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 2})
	id := c.submit("--retries", "1", "--", "sh", "-c", "echo out $ROTA_ATTEMPT; echo err $ROTA_ATTEMPT >&2; exit $ROTA_ATTEMPT")
	f := c.following(number(id) + ".0")
	require.Equal(t, "out 1\n", f.line())
	require.Equal(t, "out 2\n", f.line())
	require.Zero(t, f.wait(), f.errs.String())
	require.Contains(t, f.errs.String(), "err 1\n")
	require.Contains(t, f.errs.String(), "err 2\n")
	require.Contains(t, f.errs.String(), "attempt 1 of task")
	require.Equal(t, "out 1\n", c.ok("job", "logs", number(id), "--attempt", "1"))
	require.Equal(t, "out 2\n", c.ok("job", "logs", number(id)))
	require.Equal(t, "err 1\n", c.ok("job", "logs", number(id)+".0", "--attempt", "1", "--stderr"))
	require.Equal(t, 5, c.rota("job", "logs", number(id), "--attempt", "3").code)
	// What is kept with the result is there without the worker.
	for _, w := range c.Workers {
		w.Kill()
	}
	require.Equal(t, "out 2\n", c.ok("job", "logs", number(id)))
	require.Equal(t, "err 1\n", c.ok("job", "logs", number(id), "--attempt", "1", "--stderr"))
}

// Lines of several tasks say of which one they are.
func TestLogsOfAllTasksOfAJob(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 4})
	id := c.submit("--array", "0-2", "--", "sh", "-c", "echo out $ROTA_TASK_INDEX; printf 'no end'; echo err >&2")
	follows := c.following(number(id))
	var want, got []string
	for i := range 3 {
		want = append(want, fmt.Sprintf("%d.%d | out %d\n", id, i, i), fmt.Sprintf("%d.%d | no end\n", id, i))
	}
	for range want {
		got = append(got, follows.line())
	}
	require.ElementsMatch(t, want, got)
	require.Zero(t, follows.wait(), follows.errs.String())
	require.Contains(t, follows.errs.String(), fmt.Sprintf("%d.2 | err\n", id))
	require.Equal(t, strings.Join(want, ""), c.ok("job", "logs", number(id)), "in the order of the tasks")
	require.Equal(t, "out 1\nno end", c.ok("job", "logs", number(id)+".1"), "one task is printed as it is")
	lines := strings.Split(strings.TrimSpace(c.ok("job", "logs", number(id), "-o", "jsonl")), "\n")
	require.Len(t, lines, 3*4, "two lines, one of the standard error, and the end")
	var first jsonv1.Log
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.NotNil(t, first.ReadAt)
	require.Equal(t, jsonv1.Log{
		Job: id, Attempt: 1, Token: first.Token, Worker: first.Worker, Stream: first.Stream, ReadAt: first.ReadAt, Text: first.Text,
	}, first)
}

func TestRunPrintsOutputAsItComes(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1, Workers: 1, Slots: 2})
	flag := filepath.Join(t.TempDir(), "flag")
	ctx, cancel := context.WithTimeout(context.Background(), verbTimeout)
	defer cancel()
	script := fmt.Sprintf("echo begun; echo warned >&2; while ! test -e %s; do sleep 0.01; done; echo ended; printf last >&2; exit 3", flag)
	f := &follower{t: t, cmd: c.command(ctx, "run", "--", "sh", "-c", script)}
	out, err := f.cmd.StdoutPipe()
	require.NoError(t, err)
	f.out, f.cmd.Stderr = bufio.NewReader(out), &f.errs
	require.NoError(t, f.cmd.Start())
	require.Equal(t, "begun\n", f.line())
	require.NoError(t, os.WriteFile(flag, nil, 0o600))
	rest, err := io.ReadAll(f.out)
	require.NoError(t, err)
	require.Equal(t, "ended\n", string(rest), "what was printed is not printed again")
	require.Equal(t, 3, f.wait())
	require.Equal(t, 1, strings.Count(f.errs.String(), "warned\n"))
	require.Contains(t, f.errs.String(), "last\n")
}
