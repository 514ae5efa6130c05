package task_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rota-scheduler/rota/task"
)

func TestBackoffStaysWithinAQuarterOfItsStep(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		job, index := rapid.Uint64().Draw(t, "job"), rapid.Uint32().Draw(t, "index")
		failures := rapid.Uint32().Draw(t, "failures")
		step := task.BackoffMax
		if n := max(failures, 1) - 1; n < 20 {
			step = min(task.BackoffBase<<n, task.BackoffMax)
		}
		d := task.Backoff(job, index, failures)
		require.GreaterOrEqual(t, d, step*3/4)
		require.Less(t, d, step*5/4)
		require.Equal(t, d, task.Backoff(job, index, failures))
	})
}

func TestBackoffGrowsToItsMost(t *testing.T) {
	t.Parallel()
	require.Less(t, task.Backoff(1, 2, 1), 2*time.Second)
	require.GreaterOrEqual(t, task.Backoff(1, 2, 20), task.BackoffMax*3/4)
}

func TestBackoffSpreadsTheTasksOfAJob(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]int{}
	for i := range uint32(1000) {
		seen[task.Backoff(7, i, 1)]++
	}
	require.Greater(t, len(seen), 300, "a thousand tasks would come back at a few moments only")
}

// Its values are part of digests, and decide when tasks are tried again.
func TestMixDoesNotChange(t *testing.T) {
	t.Parallel()
	require.Equal(t, []uint64{0x9e3779b97f4a7c15, task.Mix(0), task.Mix(1, 2, 3)}, []uint64{task.Mix(), 0xe220a8397b1dcdaf, task.Mix(1, 2, 3)})
	require.NotEqual(t, task.Mix(1, 2), task.Mix(2, 1))
	require.NotEqual(t, task.Mix(1), task.Mix(1, 0))
}
