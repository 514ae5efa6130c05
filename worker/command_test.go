//go:build linux

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

func shell(job uint64, script string) *rotav1.Assignment { return commandWork(job, "sh", "-c", script) }

func setupCommands(t testing.TB, prepare ...func(*double)) *bundle {
	t.Helper()
	return setup(t, Config{Slots: 4, Commands: true}, prepare...)
}

func TestCommandResults(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t, shell(1, "echo out; echo err >&2"))
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome)
	require.Equal(t, "out\n", got.output)
	require.Equal(t, int32(0), *got.exit)
	require.Equal(t, "err\n", got.stderr, "what it warns of")

	b.assign(t, shell(2, "echo out; echo broken >&2; exit 3"))
	got = b.await(t, 2, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_FAILED, got.outcome)
	require.Equal(t, rotav1.Reason_REASON_EXIT_CODE, got.reason)
	require.Equal(t, int32(3), *got.exit)
	require.Equal(t, "broken\n", got.stderr)
	require.False(t, got.permanent)

	b.assign(t, shell(3, "kill -SEGV $$"))
	got = b.await(t, 3, 0)
	require.Equal(t, int32(128+11), *got.exit)
	require.Equal(t, "killed by signal SIGSEGV", got.err)

	b.assign(t, shell(7, "kill -34 $$"))
	got = b.await(t, 7, 0)
	require.Equal(t, int32(128+34), *got.exit)
	require.Equal(t, "killed by signal 34", got.err, "it has no name")

	b.assign(t, commandWork(4, "no-such-program-anywhere"))
	got = b.await(t, 4, 0)
	require.Equal(t, rotav1.Reason_REASON_ERROR, got.reason)
	require.True(t, got.permanent)
	require.Contains(t, got.err, "command not found")

	b.assign(t, commandWork(5, "/etc/passwd"))
	got = b.await(t, 5, 0)
	require.Contains(t, got.err, "permission denied")

	a := shell(6, "true")
	a.Work.GetCommand().Cwd = "/no/such/folder"
	b.assign(t, a)
	got = b.await(t, 6, 0)
	require.Contains(t, got.err, `"/no/such/folder" is not there`)
	require.False(t, got.permanent, "another worker may have it")
}

func TestStandardErrorKeepsItsEnd(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t, shell(1, "seq 1 20000 >&2; exit 1"))
	got := b.await(t, 1, 0)
	require.Len(t, got.stderr, task.MaxStderrTail)
	require.True(t, strings.HasSuffix(got.stderr, "19999\n20000\n"))
}

func TestStandardErrorIsNotCutThroughACharacter(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	for i := range uint64(4) {
		// 80,000 bytes of characters of four, before zero to three others.
		b.assign(t, shell(i+1, fmt.Sprintf("(yes 🂡 | head -n 20000 | tr -d '\\n'; head -c %d /dev/zero | tr '\\0' x; echo end) >&2", i)))
		got := b.await(t, i+1, 0).stderr
		require.True(t, utf8.ValidString(got))
		require.Greater(t, len(got), task.MaxStderrTail-utf8.UTFMax)
		require.True(t, strings.HasSuffix(got, "🂡"+strings.Repeat("x", int(i))+"end\n"))
	}
}

// execvp does the same, and so do env, xargs and shells.
func TestAProgramWithoutAFormatIsAScriptOfTheShell(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	dir := t.TempDir()
	for name, content := range map[string]string{"script": `echo "$0: $1"`, "data": "\x7fELF\x00\n", "empty": ""} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700))
	}
	b.assign(t, commandWork(1, dir+"/script", "a  b"), commandWork(2, dir+"/data"), commandWork(3, dir+"/empty"))
	require.Equal(t, dir+"/script: a  b\n", b.await(t, 1, 0).output)
	got := b.await(t, 2, 0)
	require.True(t, got.permanent)
	require.Contains(t, got.err, "exec format error")
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, b.await(t, 3, 0).outcome)

	relative := commandWork(4, "./script", "c")
	relative.Work.GetCommand().Cwd = dir
	found := commandWork(5, "script", "d")
	found.Work.GetCommand().Env = map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}
	b.assign(t, relative, found)
	require.Equal(t, "./script: c\n", b.await(t, 4, 0).output)
	require.Equal(t, dir+"/script: d\n", b.await(t, 5, 0).output)
}

// A keeper is in a folder of its own, so the paths that it is given must not be relative ones.
func TestCommandsRunWhereTheDataFolderIsRelative(t *testing.T) {
	// No other test may run beside this one: it changes the working directory.
	t.Chdir(t.TempDir())
	b := setup(t, Config{Slots: 1, Commands: true, DataDir: "data"})
	b.assign(t, shell(1, "pwd"))
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome, got.err)
	require.Contains(t, got.output, "/data/tmp/")
}

func TestPayloadOnStandardInput(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	for i, size := range []int{0, 5, 64 << 10, task.MaxPayload} {
		a := commandWork(uint64(i+1), "cat")
		a.Work.SharedPayload = []byte(strings.Repeat("x", size))
		b.assign(t, a)
		require.Len(t, b.await(t, uint64(i+1), 0).output, size)
	}
	a := shell(9, "exec <&-; echo ignored")
	a.Work.SharedPayload = make([]byte, task.MaxPayload)
	b.assign(t, a)
	require.Equal(t, "ignored\n", b.await(t, 9, 0).output)
}

func TestPayloadAsArgument(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	a := commandWork(1, "sh", "-c", `echo "$1"; cat`, "sh", "<{}>")
	a.Work.GetCommand().Placeholder = "{}"
	a.Work.SharedPayload = []byte("a b")
	b.assign(t, a)
	require.Equal(t, "<a b>\n", b.await(t, 1, 0).output)

	for i, payload := range []string{"a\x00b", strings.Repeat("x", task.MaxPayload)} {
		a := commandWork(uint64(i+2), "echo", "{}")
		a.Work.GetCommand().Placeholder = "{}"
		a.Work.SharedPayload = []byte(payload)
		b.assign(t, a)
		got := b.await(t, uint64(i+2), 0)
		require.True(t, got.permanent)
		require.Equal(t, rotav1.Reason_REASON_ERROR, got.reason)
	}
}

func TestEnvironmentLeaksNothing(t *testing.T) {
	// No other test may run beside this one: it changes the environment.
	t.Setenv("ROTA_TOKEN", "secret")
	t.Setenv("AWS_SECRET", "secret")
	t.Setenv("HOME", "/home/of/agent")
	t.Setenv("TZ", "UTC-14")
	t.Setenv("LC_ALL", "C")
	b := setupCommands(t)
	a := commandWork(5, "env")
	a.TokenOffset, a.Attempt = 77, 3
	a.Work.ArrayFirst, a.Work.ArrayStep = 9, 1
	a.Work.GetCommand().Env = map[string]string{"MINE": "1", "ROTA_ADDR": "x:1", "ROTA_FENCE": "0", guard.Env: "1"}
	b.assign(t, a)
	got := map[string]string{}
	for line := range strings.Lines(b.await(t, 5, 0).output) {
		name, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		require.NotContains(t, got, name)
		got[name] = v
	}
	require.Equal(t, map[string]string{
		"HOME": "/home/of/agent", "TZ": "UTC-14", "LC_ALL": "C", "MINE": "1", "ROTA_ADDR": "x:1", "ROTA_JOB_ID": "5", "ROTA_TASK_INDEX": "0",
		"ROTA_TASK_VALUE": "9", "ROTA_ATTEMPT": "3", "ROTA_FENCE": "77", "PATH": os.Getenv("PATH"),
	}, without(got, "LANG", "LANGUAGE", "TMPDIR", "USER", "LOGNAME", "SHELL", "PWD", "_", "SHLVL"))
}

func without(m map[string]string, names ...string) map[string]string {
	for _, n := range names {
		delete(m, n)
	}
	return m
}

func TestEachCommandFindsAnEmptyFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := setup(t, Config{Slots: 1, Commands: true, DataDir: dir})
	b.assign(t,
		shell(1, "pwd; ls -A; mkdir d; echo x > d/f; ln -s / root"),
		shell(2, "pwd; ls -A; chmod 000 ."),
		shell(3, "pwd; ls -A; rmdir $PWD"),
		shell(4, "pwd; ls -A; stat -c %a ."))
	b.await(t, 4, 0)
	root := filepath.Join(dir, scratchFolder)
	for job := range uint64(4) {
		lines := strings.Fields(b.await(t, job+1, 0).output)
		require.True(t, strings.HasPrefix(lines[0], root))
		if job == 3 {
			require.Equal(t, "700", lines[1])
			lines = lines[:1]
		}
		require.Len(t, lines, 1)
	}
	a := commandWork(5, "pwd")
	a.Work.GetCommand().Cwd = "/"
	b.assign(t, a)
	require.Equal(t, "/\n", b.await(t, 5, 0).output)
	b.end()
	require.NoError(t, <-b.done)
	require.NoDirExists(t, root)
}

// alive reports whether a process runs. One that is dead and not reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return f[0] != "Z" && f[0] != "X"
}

// pidIn waits for a process id in a file.
func pidIn(t testing.TB, path string) int {
	t.Helper()
	pid := 0
	eventually(t, "a process tells its id", func() bool {
		b, _ := os.ReadFile(path)
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		pid = n
		return err == nil && strings.HasSuffix(string(b), "\n")
	})
	return pid
}

func TestNothingOutlivesItsCommand(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	pid := filepath.Join(t.TempDir(), "pid")
	// The grandchild ignores SIGTERM and holds the standard output open.
	b.assign(t, shell(1, fmt.Sprintf("(trap '' TERM; echo $(sh -c 'echo $PPID') > %s; sleep 1000) & while [ ! -s %s ]; do sleep 0.01; done; echo done", pid, pid)))
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
	require.False(t, alive(pidIn(t, pid)))
}

func TestEscapedProcessDoesNotHoldTheSlot(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	pid := filepath.Join(t.TempDir(), "pid")
	b.assign(t, shell(1, fmt.Sprintf("setsid sh -c 'echo $$ > %s; exec sleep 60' & while [ ! -s %s ]; do sleep 0.01; done; echo done", pid, pid)))
	require.Equal(t, "done\n", b.await(t, 1, 0).output)
	p, err := os.FindProcess(pidIn(t, pid))
	require.NoError(t, err)
	require.NoError(t, p.Kill())
}

func TestStopOfACommandEndsItsGroup(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	dir := t.TempDir()
	b.assign(t, shell(1, fmt.Sprintf("echo said; sleep 1000 & echo $! > %s/a; echo $$ > %s/b; wait", dir, dir)))
	one, two := pidIn(t, dir+"/a"), pidIn(t, dir+"/b")
	require.True(t, alive(one))
	b.stop(t, held(1, 0, 1))
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, got.outcome)
	require.Equal(t, "said\n", got.output, "what it has printed says how far it came")
	require.False(t, alive(one))
	require.False(t, alive(two))
}

func TestTimeoutOfACommand(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	a := shell(1, "echo half; echo slow >&2; sleep 1000")
	a.Work.Timeout = durationpb.New(time.Second)
	b.assign(t, a)
	got := b.await(t, 1, 0)
	require.Equal(t, "half\n", got.output)
	require.Equal(t, rotav1.Outcome_OUTCOME_FAILED, got.outcome)
	require.Equal(t, rotav1.Reason_REASON_TIMEOUT, got.reason)
	require.Equal(t, "slow\n", got.stderr)
}

func TestGracefulStopEndsCommands(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	dir := t.TempDir()
	b.assign(t, shell(1, fmt.Sprintf("trap 'echo asked > %s/asked; exit 0' TERM; echo $$ > %s/pid; while :; do sleep 0.02; done", dir, dir)))
	pid := pidIn(t, dir+"/pid")
	b.end()
	require.NoError(t, <-b.done)
	require.Equal(t, rotav1.Outcome_OUTCOME_STOPPED, b.await(t, 1, 0).outcome)
	require.FileExists(t, dir+"/asked")
	require.False(t, alive(pid))
}

func TestCommandsAreRefusedWhereTheyAreNotAllowed(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Slots: 1, Handlers: map[string]Handler{"echo": echo}})
	b.assign(t, shell(1, "true"))
	require.Contains(t, b.await(t, 1, 0).err, "does not run commands")
}

func TestCommandsGetDefaultSignals(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t, shell(1, "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd"))
	got := b.await(t, 1, 0).output
	for line := range strings.Lines(got) {
		if name, mask, ok := strings.Cut(line, ":"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			require.NoError(t, err)
			require.Zero(t, n&(1<<14|1<<1|1), "%s has SIGTERM, SIGINT or SIGHUP", name)
		}
	}
	fds := strings.Fields(got[strings.LastIndex(got, "\t"):])
	require.Equal(t, []string{"0", "1", "2", "3"}, fds[1:], "3 is that of ls")
}

func TestCommandsTellWhatTheyHaveUsed(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	// A shell that waits for a child: what both have used counts.
	b.assign(t, shell(1, "head -c 40000000 /dev/zero | tail -c 30000000 >/dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))
	got := b.await(t, 1, 0)
	require.Greater(t, got.usage.PeakMemory, uint64(20<<20))
	require.Less(t, got.usage.PeakMemory, uint64(1<<30))
	require.Positive(t, got.usage.CPUTime)
}
