package process

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// within bounds what a test waits for on a machine that is busy.
const within = time.Minute

func shell(t *testing.T, script string, change ...func(*Config)) *Process {
	t.Helper()
	cfg := Config{Name: "p1", Path: "/bin/sh", Args: []string{"-c", script}, LogFile: filepath.Join(t.TempDir(), "p1.log")}
	for _, f := range change {
		f(&cfg)
	}
	p := New(cfg)
	t.Cleanup(p.Kill)
	return p
}

func started(t *testing.T, script string, change ...func(*Config)) *Process {
	t.Helper()
	p := shell(t, script, change...)
	require.NoError(t, p.Start())
	return p
}

func timely(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	return ctx
}

// says waits until the log has a line, as a sign that the script is that far.
func says(t *testing.T, p *Process, line string) {
	t.Helper()
	require.NoError(t, p.Await(timely(t), line, func(context.Context) error {
		if !strings.Contains(p.Tail(), line) {
			return errors.New("it does not say so")
		}
		return nil
	}))
}

func TestAProcessIsStartedAgain(t *testing.T) {
	t.Parallel()
	p := shell(t, `echo "$1"; exit "$1"`, func(cfg *Config) { cfg.Args = append(cfg.Args, "sh", "3") })
	require.False(t, p.Running())
	require.Zero(t, p.Pid())
	require.Nil(t, p.Done())
	require.NoError(t, p.WaitEnd(t.Context()))
	require.NoError(t, p.Stop(t.Context()))
	p.Kill()
	require.ErrorIs(t, p.Signal(syscall.SIGTERM), ErrEnded)

	require.NoError(t, p.Start())
	require.NoError(t, p.WaitEnd(timely(t)))
	require.Equal(t, 3, p.ExitCode())
	require.ErrorContains(t, p.Ended(), "exit status 3")
	first := p.Pid()

	p.SetFlag("sh", "0")
	require.NoError(t, p.Start())
	<-p.Done()
	require.Zero(t, p.ExitCode())
	require.NotEqual(t, first, p.Pid())
	log, err := os.ReadFile(p.LogFile)
	require.NoError(t, err)
	require.Equal(t, "3\n0\n", string(log))
}

func TestAProcessRunsOnce(t *testing.T) {
	t.Parallel()
	p := started(t, "exec sleep 1000")
	require.True(t, p.Running())
	require.Equal(t, -1, p.ExitCode())
	require.ErrorContains(t, p.Start(), "runs already")
	p.Kill()
	require.False(t, p.Running())
	require.Equal(t, -1, p.ExitCode())
	require.NoError(t, p.Start())
}

func TestAProcessThatIsAskedToEndEndsInGoodOrder(t *testing.T) {
	t.Parallel()
	p := started(t, `trap 'echo bye; exit 0' INT; echo ready; while :; do sleep 0.01; done`, func(cfg *Config) { cfg.StopSignal = syscall.SIGINT })
	says(t, p, "ready")
	// One that is paused notices, too.
	require.NoError(t, p.Pause())
	require.NoError(t, p.Stop(timely(t)))
	require.Zero(t, p.ExitCode())
	require.Contains(t, p.Tail(), "bye")

	p = started(t, `trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done`)
	says(t, p, "ready")
	require.ErrorContains(t, p.Stop(timely(t)), "p1 ended with exit status 4; its log is "+p.LogFile)
	require.NoError(t, p.Stop(t.Context()), "it has ended")
}

func TestAProcessThatDoesNotEndInTimeIsKilled(t *testing.T) {
	t.Parallel()
	const deaf = `trap '' TERM; echo ready; while :; do sleep 0.01; done`
	p := started(t, deaf, func(cfg *Config) { cfg.StopTimeout = time.Millisecond })
	says(t, p, "ready")
	require.ErrorIs(t, p.Stop(timely(t)), ErrKilled)
	require.False(t, p.Running())

	p = started(t, deaf)
	says(t, p, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, p.Stop(ctx), ErrKilled)
	require.False(t, p.Running())
}

func TestOnlyAnEndThatNobodyAskedForIsTold(t *testing.T) {
	t.Parallel()
	codes := make(chan int, 1)
	p := started(t, "read line; exit 5", func(cfg *Config) { cfg.OnExit = func(code int) { codes <- code } })
	<-p.Done()
	require.Equal(t, 5, <-codes, "it is told before Done is closed")
	for _, end := range []func(){p.Kill, func() { _ = p.Stop(timely(t)) }} {
		p.cfg.Args = []string{"-c", "exec sleep 1000"}
		require.NoError(t, p.Start())
		end()
		require.Empty(t, codes)
	}
	require.NoError(t, p.Start())
	require.NoError(t, p.Signal(syscall.SIGKILL))
	<-p.Done()
	require.Equal(t, -1, <-codes, "a signal is no request")
}

// It has ended, and Done is not closed yet.
func TestAProcessThatHasJustEndedIsStopped(t *testing.T) {
	t.Parallel()
	ended, told := make(chan struct{}), make(chan struct{})
	p := started(t, "exit 0", func(cfg *Config) {
		cfg.OnExit = func(int) {
			close(ended)
			<-told
		}
	})
	tell := sync.OnceFunc(func() { close(told) })
	defer tell()
	<-ended
	require.ErrorIs(t, p.Pause(), ErrEnded)
	stopped := make(chan error, 1)
	go func() { stopped <- p.Stop(timely(t)) }()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.asked
	}, within, time.Millisecond)
	tell()
	require.NoError(t, <-stopped)
}

func TestAWaitEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	never := errors.New("it is not ready")
	p := started(t, "echo 'no such file' >&2; exit 2")
	err := p.Await(timely(t), "p1", func(ctx context.Context) error {
		<-ctx.Done()
		return never
	})
	require.ErrorIs(t, err, ErrEnded)
	require.ErrorContains(t, err, "ended with exit status 2; its log is "+p.LogFile+"; it ends with:\nno such file")
	require.ErrorIs(t, p.Await(t.Context(), "p1", func(context.Context) error { return nil }), ErrEnded)

	p = started(t, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	err = p.Await(ctx, "p1", func(context.Context) error {
		cancel()
		return never
	})
	require.ErrorIs(t, err, never)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, p.Running())
}

func TestMemoryBeyondItsLimitEndsAProcess(t *testing.T) {
	t.Parallel()
	p := shell(t, `while [ ! -e "$GO" ]; do sleep 0.01; done; x=$(head -c 100000000 /dev/zero | tr '\0' x); echo "${#x}"`)
	gate := filepath.Join(t.TempDir(), "go")
	p.cfg.Env = []string{"GO=" + gate, "PATH=" + os.Getenv("PATH")}
	require.ErrorIs(t, p.LimitMemory(1<<20), ErrEnded)
	require.NoError(t, p.Start())
	require.NoError(t, p.LimitMemory(16<<20))
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	require.NoError(t, p.WaitEnd(timely(t)))
	require.NotZero(t, p.ExitCode())
}

func TestTheTailOfALongLogBeginsWithALine(t *testing.T) {
	t.Parallel()
	p := started(t, `for i in $(seq 1000); do echo "line $i of a log"; done; exit 1`)
	<-p.Done()
	require.Len(t, p.Tail(), tailBytes)
	_, end, found := strings.Cut(p.Ended().Error(), "it ends with:\n")
	require.True(t, found)
	require.True(t, strings.HasPrefix(end, "line "), end)
	require.True(t, strings.HasSuffix(end, "line 1000 of a log"), end)
}

// parentEnv says to a copy of this test that it is the parent that dies.
const parentEnv = "PROCESS_TEST_PARENT"

// The child has the write end of a pipe, which is closed when both have ended.
func TestNoChildOutlivesItsParent(t *testing.T) {
	t.Parallel()
	if os.Getenv(parentEnv) != "" {
		p := New(Config{
			Name: "child", Path: "/bin/sh", Args: []string{"-c", "echo started; exec sleep 1000"},
			LogFile: filepath.Join(t.TempDir(), "log"), Prepare: func(cmd *exec.Cmd) { cmd.Stdout = os.NewFile(3, "pipe") },
		})
		require.NoError(t, p.Start())
		<-p.Done()
		return
	}
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer read.Close()
	parent := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	parent.Env = append(os.Environ(), parentEnv+"=1")
	parent.ExtraFiles = []*os.File{write}
	require.NoError(t, parent.Start())
	require.NoError(t, write.Close())
	require.NoError(t, read.SetReadDeadline(time.Now().Add(within)))
	said := make([]byte, len("started\n"))
	_, err = io.ReadFull(read, said)
	require.NoError(t, err)
	require.NoError(t, parent.Process.Kill())
	_, err = io.ReadAll(read)
	require.NoError(t, err, "the child outlives its parent")
	_ = parent.Wait()
}
