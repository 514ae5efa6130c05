package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/store/backup"
)

// TestABackupOfOthersIsShownInPlainText shows a backup whose names a terminal would obey.
func TestABackupOfOthersIsShownInPlainText(t *testing.T) {
	t.Parallel()
	var saved bytes.Buffer
	m := &backup.Manifest{TakenAt: time.Unix(1, 0), NodeID: evil, Version: evil, ClusterID: "c", Index: 1, Digest: evil, Servers: []string{evil}, StateBytes: 5}
	require.NoError(t, backup.Write(&saved, m, strings.NewReader("state")))
	dir := t.TempDir()
	file := filepath.Join(dir, "evil.backup")
	require.NoError(t, os.WriteFile(file, saved.Bytes(), 0o600))
	for _, args := range [][]string{{"inspect", file}, {"restore", file, "--data-dir", filepath.Join(dir, "new"), "--node-id", "n1"}} {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, env: func(string) string { return "" }}
		a.run(t.Context(), append([]string{"cluster", "snapshot"}, args...))
		require.NotEmpty(t, out.String()+errs.String())
		requirePrintable(t, out.String())
		requirePrintable(t, errs.String())
	}
}

// A cluster has its newest backups in a folder; those of others, and other files, are nobody's to remove.
func TestOnlyTheOldestBackupsOfTheClusterAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{
		"rota-a-20260102T000000Z-9.backup", "rota-a-20260102T000000Z-10.backup", "rota-a-20260102T000000Z-11.backup",
		"rota-ab-20260101T000000Z-9.backup", "rota-a-notes.txt", "mine.backup",
	}
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, removeOldest(dir, "a", 2))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	require.ElementsMatch(t, names[1:], left)
	require.NoError(t, removeOldest(dir, "a", 5))
}
