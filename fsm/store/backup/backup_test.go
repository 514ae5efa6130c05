package backup

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func manifest(size int) *Manifest {
	return &Manifest{
		TakenAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), NodeID: "n1", Version: "v1", ClusterID: "c", Index: 9, Term: 2,
		Clock: time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC), Digest: "00000000000000ff", LogVersion: 4, StateFormat: 5, Jobs: 3, UnfinishedJobs: 1,
		RequestKeys: 2, Sessions: 1, NextJob: 4, NextToken: 5, Servers: []string{"n1", "n2"}, StateBytes: int64(size),
	}
}

// states are of different sizes, some of which compress and some do not.
func states() map[string][]byte {
	noise := make([]byte, 3*blockBytes+17)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	return map[string][]byte{"small": []byte("state"), "pages": bytes.Repeat([]byte("page of a file "), 100_000), "noise": noise}
}

func written(t testing.TB, state []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	require.NoError(t, Write(&file, manifest(len(state)), bytes.NewReader(state)))
	return file.Bytes()
}

// readAll reads a backup as a restore does.
func readAll(file []byte) (m Manifest, state []byte, err error) {
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		return m, nil, err
	}
	defer r.Close()
	if state, err = io.ReadAll(r); err != nil {
		return r.Manifest, nil, err
	}
	return r.Manifest, state, r.Finish()
}

func TestABackupComesBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	for name, state := range states() {
		file := written(t, state)
		m, got, err := readAll(file)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(state, got), name)
		require.Equal(t, *manifest(len(state)), func() Manifest { m.Format = 0; return m }(), name)
		if name == "pages" {
			require.Less(t, len(file), len(state)/10)
		}
	}
}

// Who reads only as much as the state has is told all the same.
func TestFinishReadsTheRest(t *testing.T) {
	t.Parallel()
	state := states()["noise"]
	r, err := Open(bytes.NewReader(written(t, state)))
	require.NoError(t, err)
	defer r.Close()
	_, err = io.CopyN(io.Discard, r, int64(len(state)))
	require.NoError(t, err)
	require.NoError(t, r.Finish())
}

func TestNoCutAndNoFlippedBitPasses(t *testing.T) {
	t.Parallel()
	file := written(t, []byte("the state of a cluster, which is small here"))
	for at := range file {
		for bit := range 8 {
			changed := bytes.Clone(file)
			changed[at] ^= 1 << bit
			_, _, err := readAll(changed)
			require.Error(t, err, "bit %d of byte %d", bit, at)
		}
		_, _, err := readAll(file[:at])
		require.ErrorIs(t, err, ErrDamaged, "cut to %d bytes", at)
	}
	_, _, err := readAll(append(bytes.Clone(file), 0))
	require.ErrorIs(t, err, ErrDamaged)
	_, _, err = readAll(nil)
	require.ErrorIs(t, err, ErrDamaged)
}

func TestALaterFormatIsRefusedInWords(t *testing.T) {
	t.Parallel()
	file := written(t, []byte("state"))
	later := bytes.Replace(file, []byte(`"format":1`), []byte(`"format":2`), 1)
	_, _, err := readAll(later)
	require.ErrorContains(t, err, "use the version of rota that wrote it (v1)")
}

// Clients name files after the cluster that a server says it is.
func TestAClusterWhoseNameIsAPathIsRefused(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"../../x", "a/b", "*", "a b", ""} {
		m := manifest(5)
		m.ClusterID = id
		var file bytes.Buffer
		require.NoError(t, Write(&file, m, bytes.NewReader([]byte("state"))))
		_, _, err := readAll(file.Bytes())
		require.ErrorIs(t, err, ErrDamaged)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(written(f, []byte("state")))
	f.Fuzz(func(t *testing.T, file []byte) {
		_, _, _ = readAll(file)
	})
}
