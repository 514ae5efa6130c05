package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	valid, invalid, unknown := stored(t, dir, "valid"), stored(t, dir, "invalid"), stored(t, dir, "unknown")
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"nothing", nil, exitFlags},
		{"unknown verb", []string{"destroy"}, exitFlags},
		{"unknown flag", []string{"test", "--destroy"}, exitFlags},
		{"an even number of servers", []string{"test", "--nodes", "4"}, exitFlags},
		{"a log store that there is not", []string{"test", "--log-store", "paper"}, exitFlags},
		{"two clusters for one test", []string{"test", "--binary", "main.go", "--nodes", "3,5"}, exitFlags},
		{"unknown workload", []string{"test", "--binary", "main.go", "--workload", "x"}, exitFlags},
		{"unknown fault", []string{"test", "--binary", "main.go", "--nemesis", "x"}, exitFlags},
		{"malformed concurrency", []string{"test", "--concurrency", "3x"}, exitFlags},
		{"no such run", []string{"analyze", filepath.Join(dir, "none")}, exitHarness},
		{"a valid run", []string{"analyze", valid}, exitValid},
		{"an invalid run", []string{"analyze", invalid}, exitInvalid},
		{"a run in which too little happened", []string{"analyze", unknown}, exitUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.code, run(context.Background(), c.args, &bytes.Buffer{}))
		})
	}
}

// stored is a history made by hand, as a run in a store.
func stored(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "run", name+".jsonl"))
	require.NoError(t, err)
	run := filepath.Join(dir, name)
	require.NoError(t, os.Mkdir(run, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(run, "history.jsonl"), data, 0o600))
	return run
}
