package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker/guard"
	"github.com/rota-scheduler/rota/worker/report"
)

// Without a guard, as on systems other than Linux, exclusive tasks go to other workers, and ordinary ones run.
func TestExclusiveTasksFailWhereNoGuardCanBe(t *testing.T) {
	t.Parallel()
	w, err := New(Config{Addrs: []string{"127.0.0.1:1"}, Slots: 1, Handlers: map[string]Handler{"echo": echo}})
	require.NoError(t, err)
	require.ErrorIs(t, ErrLinuxOnly, task.ErrInvalid)
	got := w.unguarded(guard.ErrUnsupported)
	require.Equal(t, report.Failed, got.Kind, "another worker may have its next attempt")
	require.Contains(t, got.Err, "on Linux only")
	require.False(t, w.held.paused)
	require.Empty(t, w.state().GetUnhealthy())

	got = w.unguarded(guard.ErrGuardLost)
	require.Equal(t, report.Returned, got.Kind, "there may be a guard again")
	require.True(t, w.held.paused)
}
