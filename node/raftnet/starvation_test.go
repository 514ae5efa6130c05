package raftnet

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStarvationHasALineAMinute(t *testing.T) {
	t.Parallel()
	log := newLines()
	s := newStarvation(slog.New(log))
	now := time.Now()
	require.False(t, s.within(now, time.Hour))
	for range 600 {
		now = now.Add(300 * time.Millisecond)
		s.note(now, 250*time.Millisecond, true)
	}
	require.True(t, s.within(now, time.Millisecond))
	require.False(t, s.within(now.Add(time.Second), time.Millisecond))
	require.Len(t, log.all, 3)
	require.EqualValues(t, 200, attr(log.all[1], "times").Int64())
	s.note(now.Add(time.Hour), 120*time.Millisecond, false)
	require.Len(t, log.all, 3, "what is short is only kept in mind")
}
