//go:build linux

package worker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rota-scheduler/rota/worker/guard"
)

// Tests that kill or stop an agent run it in a process of its own: this very test
// binary, which acts as an agent when this variable names a leader.
const (
	testAgentEnv     = "ROTA_TEST_AGENT"
	testAgentDataEnv = "ROTA_TEST_AGENT_DATA"
	// testAgentSealedEnv makes it start as programs do that have capabilities, or cannot be read.
	testAgentSealedEnv = "ROTA_TEST_AGENT_SEALED"
)

// testAgent is the main function of such a process.
func testAgent(addr string) {
	if os.Getenv(testAgentSealedEnv) != "" {
		_ = guard.Seal()
	}
	w, err := New(Config{
		Addrs: []string{addr}, Slots: 4, Commands: true, DataDir: os.Getenv(testAgentDataEnv),
		Handlers: map[string]Handler{
			// Both tell in the folder of their payload that they have started; "waits"
			// also why it ended.
			"waits": func(ctx context.Context, t *Task) ([]byte, error) {
				_ = os.WriteFile(filepath.Join(string(t.Payload), fmt.Sprint("started", t.Index)), []byte("yes\n"), 0o600)
				<-ctx.Done()
				_ = os.WriteFile(filepath.Join(string(t.Payload), fmt.Sprint("ended", t.Index)), []byte(context.Cause(ctx).Error()), 0o600)
				return nil, ctx.Err()
			},
			// "hoards" opens all files that this process may have, until it is told to close them.
			"hoards": func(_ context.Context, t *Task) ([]byte, error) {
				var files []*os.File
				for unix.Access(filepath.Join(string(t.Payload), "enough"), unix.F_OK) != nil {
					// Files that others close in the meantime are taken, too.
					f, err := os.Open(os.DevNull)
					if err != nil {
						time.Sleep(time.Millisecond)
						continue
					}
					files = append(files, f)
				}
				for _, f := range files {
					_ = f.Close()
				}
				return fmt.Append(nil, len(files)), nil
			},
			"hangs": func(_ context.Context, t *Task) ([]byte, error) {
				_ = os.WriteFile(filepath.Join(string(t.Payload), fmt.Sprint("started", t.Index)), []byte("yes\n"), 0o600)
				select {}
			},
		},
	})
	if err == nil {
		err = w.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, "agent:", err)
	os.Exit(1)
}

// agent is an agent in a process of its own.
type agent struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func startAgent(t testing.TB, d *double, dataDir string, prepare ...func(*exec.Cmd)) *agent {
	t.Helper()
	a := &agent{cmd: exec.Command("/proc/self/exe"), ended: make(chan struct{})}
	a.cmd.Env = append(os.Environ(), testAgentEnv+"="+d.addr, testAgentDataEnv+"="+dataDir, "TMPDIR="+t.TempDir())
	// A file, not a pipe: the guard has it too, and Wait would wait for the guard.
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	defer func() { _ = stderr.Close() }()
	a.cmd.Stderr = stderr
	for _, f := range prepare {
		f(a.cmd)
	}
	require.NoError(t, a.cmd.Start())
	go func() {
		defer close(a.ended)
		_ = a.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill()
		<-a.ended
		if t.Failed() {
			log, _ := os.ReadFile(stderr.Name())
			t.Log(string(log))
		}
	})
	return a
}

func (a *agent) signal(t testing.TB, s unix.Signal) {
	t.Helper()
	require.NoError(t, a.cmd.Process.Signal(s))
}

// marked lists the processes that have a text in their environment.
func marked(t testing.TB, mark string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	var found []string
	for _, f := range files {
		// Processes come and go meanwhile.
		if env, err := os.ReadFile(f); err == nil && strings.Contains(string(env), mark) {
			found = append(found, f)
		}
	}
	return found
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
