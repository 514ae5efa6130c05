package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// asProgram makes this test's program be bench.
	asProgram = "ROTA_BENCH_TEST_AS_PROGRAM"
	// programTimeout bounds a build and a measurement on a busy machine.
	programTimeout = 5 * time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// bench runs the program and returns what it printed, and its exit code.
func bench(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), programTimeout)
	defer cancel()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	require.NoError(t, ctx.Err(), errs.String())
	if err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func buildRota(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rota")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/rota")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// A Redis that finds its port taken is started again, and again. When that does not help, Rota is
// measured all the same, in this workload and in those that follow.
func TestAPeerWithoutAPortTakesNothingFromTheReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	starts := filepath.Join(dir, "starts")
	redis := "#!/bin/sh\necho start >>'" + starts + "'\necho 'bind: Address already in use' >&2\nexit 1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "redis-server"), []byte(redis), 0o700))
	stdout, stderr, code := bench(t, []string{"PATH=" + dir + ":" + os.Getenv("PATH")},
		"run", "--workload", "array,single", "--tasks", "50", "--runs", "1", "--peers", "asynq", "--rota", buildRota(t), "--dir", dir)
	require.Equal(t, 1, code, stderr)
	for _, workload := range []string{"array, ", "single, "} {
		require.Contains(t, stdout, workload, stderr)
	}
	require.Equal(t, 2, strings.Count(stdout, "rota: "), stdout)
	require.Equal(t, 2, strings.Count(stdout, "failed: asynq in pair 1: start asynq: "), stdout)
	require.Contains(t, stderr, "bench: array: start asynq: ")
	require.Contains(t, stderr, "Address already in use", "the end of its log is not told")
	require.Equal(t, 4, strings.Count(stderr, "asynq is started again, with other ports"), stderr)
	made, err := os.ReadFile(starts)
	require.NoError(t, err)
	require.Equal(t, 6, bytes.Count(made, []byte("start")), "three tries for each workload")
}

// A pair of turns that fails takes nothing from those before it.
func TestPairsBeforeAFailureAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	one := `{"workload":"array","systems":[{"name":"rota","runs":[{"seconds":1,"tasks_per_s":5}]}]}`
	self := filepath.Join(dir, "bench")
	text := "#!/bin/sh\necho call >>'" + calls + "'\n[ $(wc -l <'" + calls + "') -le 5 ] && echo '" + one + "'\n"
	require.NoError(t, os.WriteFile(self, []byte(text), 0o700))
	f := &turnsFlags{pairs: 4}
	ours, theirs, err := f.pairsOf(t.Context(), self, self, "array")
	require.ErrorContains(t, err, "run --workload array")
	require.Len(t, ours, 2)
	require.Len(t, theirs, 2)
}

func TestEveryVerbOfBenchHasAnExample(t *testing.T) {
	t.Parallel()
	for _, cmd := range root().Commands() {
		if !cmd.Hidden {
			require.Contains(t, cmd.Example, "bench "+cmd.Name())
		}
	}
}
