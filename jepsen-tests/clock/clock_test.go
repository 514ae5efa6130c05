package clock

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const year = 365 * 24 * time.Hour

// A program of another module is built as the product is, and asked for the time.
func TestTheWallClockJumpsAndTheMonotonicOneGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	binary, err := Build(ctx, filepath.Join("testdata", "tell"), ".", t.TempDir())
	require.NoError(t, err)
	skew, err := New(filepath.Join(t.TempDir(), "skew"))
	require.NoError(t, err)
	defer func() { require.NoError(t, skew.Close()) }()

	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append(os.Environ(), Env+"="+skew.Path)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	answers := bufio.NewReader(out)
	var last time.Duration
	for _, by := range []time.Duration{0, year, -year, 7 * time.Millisecond, -999_999_999, 0} {
		skew.Set(by)
		require.Equal(t, by, skew.Get())
		_, err := fmt.Fprintln(in)
		require.NoError(t, err)
		var wall, since int64
		_, err = fmt.Fscanln(answers, &wall, &since)
		require.NoError(t, err)
		off := time.Duration(wall - time.Now().UnixNano())
		require.InDelta(t, float64(by), float64(off), float64(5*time.Second))
		require.LessOrEqual(t, off, by, "the answer is older than the question")
		require.Greater(t, time.Duration(since), last)
		require.Less(t, time.Duration(since), time.Hour, "the monotonic clock knows nothing of it")
		last = time.Duration(since)
	}
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

func TestAnUnknownVersionOfTheStandardLibraryIsAnError(t *testing.T) {
	t.Parallel()
	_, err := skewNow("package time\n\nfunc Now() Time {\n\treturn Time{}\n}\n")
	require.ErrorContains(t, err, "adapt package clock")
	changed, err := skewNow("a" + nowFunction + nowLine + "b")
	require.NoError(t, err)
	require.Equal(t, "a"+nowFunction+nowSkewed+"b", changed)
}

func TestWithoutTheSourceThereIsNoSuchBinary(t *testing.T) {
	t.Parallel()
	require.Error(t, Available(t.TempDir()))
	require.NoError(t, Available(filepath.Join("..", "..")))
}
