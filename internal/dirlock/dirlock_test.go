package dirlock

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const name = "lock"

func TestALockHasOneHolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made")
	first, err := Take(dir, name)
	require.NoError(t, err)
	_, err = Take(dir, name)
	require.ErrorIs(t, err, ErrTaken)
	other, err := Take(dir, "other")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, first.Close())
	// A process that is being started has every file of its parent for a moment.
	second, err := Wait(t.Context(), dir, name, func() {})
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

// A child holds the lock that it has inherited, also when its parent is gone.
func TestAChildHoldsALockThatItInherits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := Take(dir, name)
	require.NoError(t, err)
	cmd := exec.Command("cat")
	cmd.ExtraFiles = []*os.File{lock}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	require.NoError(t, lock.Close())
	_, err = Take(dir, name)
	require.ErrorIs(t, err, ErrTaken)

	require.NoError(t, in.Close())
	next, err := Wait(t.Context(), dir, name, func() {})
	require.NoError(t, err)
	require.NoError(t, next.Close())
	require.NoError(t, cmd.Wait())
}

func TestAWaitSaysThatItIsSlowAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := Take(dir, name)
	require.NoError(t, err)
	defer func() { require.NoError(t, lock.Close()) }()
	enough := errors.New("the wait was slow")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err = Wait(ctx, dir, name, func() { cancel(enough) })
	require.ErrorIs(t, err, enough)
}

func TestAFolderThatCannotBeMadeIsNoLock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Take(file, name)
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrTaken)
	_, err = Wait(t.Context(), file, name, func() {})
	require.NotErrorIs(t, err, ErrTaken)
}
