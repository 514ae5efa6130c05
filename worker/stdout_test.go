//go:build linux

package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// to is work whose standard output goes elsewhere.
func to(a *rotav1.Assignment, s rotav1.Stdout, path string) *rotav1.Assignment {
	a.Work.GetCommand().Stdout, a.Work.GetCommand().StdoutPath = s, path
	return a
}

func TestOfTooMuchOutputTheEndsAreKept(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t,
		shell(1, fmt.Sprintf("head -c %d /dev/zero", task.MaxPayload)),
		shell(2, "echo first; seq 1 1000000; echo last"),
		shell(3, "echo first; seq 1 1000000; echo last; exit 3"))
	got := b.await(t, 1, 0)
	require.Len(t, got.output, task.MaxPayload)
	require.Zero(t, got.missing)
	for job, code := range map[uint64]int32{2: 0, 3: 3} {
		got := b.await(t, job, 0)
		require.Equal(t, code, *got.exit, "the exit code decides")
		require.False(t, got.permanent)
		require.True(t, strings.HasPrefix(got.output, "first\n1\n2\n"))
		require.True(t, strings.HasSuffix(got.output, "1000000\nlast\n"))
		require.Len(t, got.output, task.MaxPayload)
		require.Equal(t, uint32(task.MaxPayload/2), got.head)
		require.Equal(t, uint64(6+6888896+5-task.MaxPayload), got.missing)
	}

	a := shell(4, "echo first; seq 1 100000; echo last; exec sleep 1000")
	a.Work.Timeout = durationpb.New(5 * time.Second)
	b.assign(t, a)
	got = b.await(t, 4, 0)
	require.Equal(t, rotav1.Reason_REASON_TIMEOUT, got.reason)
	require.True(t, strings.HasSuffix(got.output, "100000\nlast\n"), "what there was by then")
	require.NotZero(t, got.missing)
}

func TestTooMuchOutputFailsForGoodWhereAllIsWanted(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t,
		to(shell(1, fmt.Sprintf("head -c %d /dev/zero", task.MaxPayload)), rotav1.Stdout_STDOUT_FULL, ""),
		to(shell(2, "echo first; yes; echo never"), rotav1.Stdout_STDOUT_FULL, ""),
		// It says so at the first byte, not at the end.
		to(shell(3, fmt.Sprintf("head -c %d /dev/zero; sleep 1000", task.MaxPayload+1)), rotav1.Stdout_STDOUT_FULL, ""))
	got := b.await(t, 1, 0)
	require.Len(t, got.output, task.MaxPayload)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome)
	for job := uint64(2); job <= 3; job++ {
		got = b.await(t, job, 0)
		require.True(t, got.permanent)
		require.Equal(t, rotav1.Reason_REASON_ERROR, got.reason)
		require.Contains(t, got.err, "more than 262144 bytes")
		require.Len(t, got.output, task.MaxPayload)
		require.NotZero(t, got.missing)
	}
	require.Equal(t, uint64(1), got.missing)
	require.True(t, strings.HasPrefix(b.await(t, 2, 0).output, "first\ny\n"))
}

func TestOutputThatNobodyWantsIsDiscarded(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	b.assign(t, to(shell(1, "yes | head -c 3000000; to=$(readlink /proc/$$/fd/1); echo $to >&2"), rotav1.Stdout_STDOUT_DISCARD, ""))
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome)
	require.Empty(t, got.output)
	require.Zero(t, got.missing)
	require.Equal(t, "/dev/null\n", got.stderr)
}

func TestOutputGoesToAFile(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	dir := t.TempDir()
	file := func(a *rotav1.Assignment, path string) *rotav1.Assignment {
		a.Attempt = 3
		return to(a, rotav1.Stdout_STDOUT_FILE, path)
	}
	content := func(name string) string {
		out, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return string(out)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1.0.3"), []byte("what an earlier one has left"), 0o600))
	b.assign(t, file(shell(1, "yes | head -c 3000000; echo err >&2"), dir+"/{job}.{task}.{attempt}"))
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome)
	require.Empty(t, got.output)
	require.Equal(t, "err\n", got.stderr)
	require.Equal(t, strings.Repeat("y\n", 1_500_000), content("1.0.3"))

	// A relative one counts from the command's folder; blocking writes are what programs expect.
	a := file(shell(2, `grep ^flags: /proc/self/fdinfo/1`), "out-{value}")
	a.Work.GetCommand().Cwd = dir
	a.Work.ArrayFirst, a.Work.ArrayStep = 40, 2
	b.assign(t, a)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, b.await(t, 2, 0).outcome)
	var flags int
	_, err := fmt.Sscanf(content("out-40"), "flags: %o", &flags)
	require.NoError(t, err)
	require.Zero(t, flags&(unix.O_NONBLOCK|unix.O_CLOEXEC), "%o", flags)
	info, err := os.Stat(filepath.Join(dir, "out-40"))
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o133)

	// Nobody reads the pipe: a slot does not wait for somebody who does.
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	b.assign(t, file(shell(3, "echo never"), dir+"/no/such/folder"), file(shell(4, "echo never"), dir), file(shell(5, "echo never"), dir+"/pipe"))
	for job, want := range map[uint64]string{3: "no such file or directory", 4: "is a directory", 5: "no such device or address"} {
		got := b.await(t, job, 0)
		require.Equal(t, rotav1.Outcome_OUTCOME_FAILED, got.outcome)
		require.False(t, got.permanent, "another worker may have it")
		require.Contains(t, got.err, want)
		require.Contains(t, got.err, "for the standard output")
	}
}

// What a command has left running may write on and on: the agent reads no more of it than is kept.
func TestADaemonThatWritesOnIsNotReadForever(t *testing.T) {
	t.Parallel()
	b := setupCommands(t)
	// They end when nobody reads them any more, and not much later at any rate.
	dir := t.TempDir()
	b.assign(t, shell(1, fmt.Sprintf(
		"cd %s; for to in 1 2; do setsid sh -c \"echo > $to; exec head -c 300000000 /dev/zero >&$to\" & done; while [ ! -s 1 ] || [ ! -s 2 ]; do :; done", dir)))
	got := b.await(t, 1, 0)
	require.Equal(t, rotav1.Outcome_OUTCOME_SUCCEEDED, got.outcome)
	require.LessOrEqual(t, len(got.output), task.MaxPayload)
	require.LessOrEqual(t, len(got.stderr), task.MaxStderrTail)
	b.assign(t, shell(2, "echo next"))
	require.Equal(t, "next\n", b.await(t, 2, 0).output)
}
