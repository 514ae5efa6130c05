package raftlog

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A crash between the last write to a file of the log, and the note that it is closed, leaves a log that
// can be read and appended to.
func TestALogWhoseFileWasBeingClosedGoesOn(t *testing.T) {
	t.Parallel()
	const commit = 8 // bytes
	full := func(t *testing.T, s *segments) uint64 {
		last := uint64(2)
		for len(s.begins()) < 2 {
			n, err := fill(t, s, last+1, 1)
			require.NoError(t, err)
			last += n
			// A deletion waits for the next file, if one is being made.
			require.NoError(t, s.DeleteRange(last+1, last+1))
		}
		return last
	}
	deposed := func(t *testing.T, s *segments) uint64 {
		require.NoError(t, s.DeleteRange(2, 2))
		return 2
	}
	for name, tc := range map[string]struct {
		closed func(t *testing.T, s *segments) uint64
		// torn is how many of the last bytes did not reach the disk, lost how many entries.
		torn int
		lost uint64
	}{
		"it is full":                                {full, 0, 0},
		"it is full, torn":                          {full, commit, 1},
		"it is full, torn in its index":             {full, commit + 12, 1},
		"its end is deleted":                        {deposed, 0, 0},
		"its end is deleted, torn":                  {deposed, commit, 0},
		"its end is deleted, torn behind its index": {deposed, commit + 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := smallSegments(t, dir)
			_, err := fill(t, s, 1, 2)
			require.NoError(t, err)
			meta := filepath.Join(dir, walMetaFile)
			before, err := os.ReadFile(meta)
			require.NoError(t, err)
			last := tc.closed(t, s) - tc.lost
			require.NoError(t, s.Close())

			require.NoError(t, os.WriteFile(meta, before, 0o600))
			paths, err := filepath.Glob(filepath.Join(dir, "*.wal"))
			require.NoError(t, err)
			require.Len(t, paths, 2)
			require.NoError(t, os.Remove(paths[1]))
			content, err := os.ReadFile(paths[0])
			require.NoError(t, err)
			content = bytes.TrimRight(content, "\x00") // up to its checksum
			clear(content[len(content)-tc.torn:])
			content = append(content, make([]byte, max(0, int(s.size)-len(content)))...)
			require.NoError(t, os.WriteFile(paths[0], content, 0o600))

			require.NoError(t, s.open())
			requireEntries(t, s, last)
			n, err := fill(t, s, last+1, 20)
			require.NoError(t, err)
			last += n
			requireEntries(t, s, last)
			require.NoError(t, s.Close())
			require.NoError(t, s.open())
			requireEntries(t, s, last)
			require.NoError(t, s.DeleteRange(2, last))
			requireEntries(t, s, 1)
		})
	}
}
