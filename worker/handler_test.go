package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
)

// Where there is no guard, as on another system than Linux, what is exclusive goes to other workers,
// and what is ordinary goes on.
func TestExclusiveTasksFailWhereNoGuardCanBe(t *testing.T) {
	t.Parallel()
	w, err := New(Config{Addrs: []string{"127.0.0.1:1"}, Slots: 1, Handlers: map[string]Handler{"echo": echo}})
	require.NoError(t, err)
	require.ErrorIs(t, ErrLinuxOnly, task.ErrInvalid)
	got := w.unguarded(guard.ErrUnsupported)
	require.Equal(t, failed, got.kind, "another worker may have its next attempt")
	require.Contains(t, got.err, "on Linux only")
	require.False(t, w.board.paused)
	require.Empty(t, w.state().GetUnhealthy())

	got = w.unguarded(guard.ErrGuardLost)
	require.Equal(t, returned, got.kind, "there may be a guard again")
	require.True(t, w.board.paused)
}
