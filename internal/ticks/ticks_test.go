package ticks_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/ticks"
)

func TestALoopRunsOncePerIntervalUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		var at []time.Duration
		for now := range ticks.Every(ctx, time.Second) {
			at = append(at, now.Sub(begin))
		}
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}, at)
		require.Equal(t, 3500*time.Millisecond, time.Since(begin))
	})
}

func TestALoopMayLeaveBeforeItsContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		for range ticks.Every(t.Context(), time.Second) {
			break
		}
		require.Equal(t, time.Second, time.Since(begin))
	})
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		require.True(t, ticks.Sleep(ctx, time.Second))
		require.Equal(t, time.Second, time.Since(begin))
		require.False(t, ticks.Sleep(ctx, time.Second))
		require.Equal(t, 1500*time.Millisecond, time.Since(begin))
		require.False(t, ticks.Sleep(ctx, 0))
	})
}
