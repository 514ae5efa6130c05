package sealedfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

type record struct {
	Name  string `json:"name"`
	Index uint64 `json:"index"`
	Note  string `json:"note,omitempty"`
}

func TestARecordComesBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record.json")
	_, _, err := Read[record](path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, want := range []record{{Name: "n1", Index: 455}, {Name: "<n2> \"\n", Index: 1 << 63, Note: "second"}} {
		require.NoError(t, Write(path, want))
		got, sealed, err := Read[record](path)
		require.NoError(t, err)
		require.True(t, sealed)
		require.Equal(t, want, got)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestNoFlippedBitAndNoTruncationPasses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record.json")
	require.NoError(t, Write(path, record{Name: "n1", Index: 455, Note: "k"}))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := range whole {
		for bit := range 8 {
			whole[at] ^= 1 << bit
			require.NoError(t, os.WriteFile(path, whole, 0o600))
			_, _, err := Read[record](path)
			require.ErrorIs(t, err, ErrDamaged, "%s", whole)
			whole[at] ^= 1 << bit
		}
		require.NoError(t, os.WriteFile(path, whole[:at], 0o600))
		_, _, err := Read[record](path)
		require.ErrorIs(t, err, ErrDamaged, "%s", whole[:at])
	}
}

func TestARecordWithoutAChecksumIsReadOnlyAsItWasWritten(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record.json")
	for text, whole := range map[string]bool{
		`{"name":"n1","index":455}`:              true,
		`{"name":"n1","index":455}` + "\n":       true,
		`{"name":"n1","index":455,"notf":"k"}`:   false,
		`{"name":"n1","Index":455}`:              false,
		`{"name":"n1"}`:                          false,
		`{"name":"n1","index":455,"index":455}`:  false,
		`{"name":"n1","index":455}{}`:            false,
		`{"crc32c":"00000000","content":{}}`:     false,
		`{"name":"n1","index":455,"note":"k"`:    false,
		`{"content":{"name":"n1","index":455} }`: false,
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, sealed, err := Read[record](path)
		if !whole {
			require.ErrorIs(t, err, ErrDamaged, text)
			continue
		}
		require.NoError(t, err, text)
		require.False(t, sealed)
		require.Equal(t, record{Name: "n1", Index: 455}, got)
	}
}
