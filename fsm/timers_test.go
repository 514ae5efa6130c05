package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// TestACancelledJobLeavesNoTimer: its start may have lain years ahead.
func TestACancelledJobLeavesNoTimer(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	job := b.submit(&task.Spec{Handler: "h", Delay: task.MaxDelay, Expire: time.Hour}, 2)
	_, next := b.m.Due(b.clock, 1)
	require.NotZero(t, next)
	b.must(cancelJobOp(job))
	_, next = b.m.Due(b.clock, 1)
	require.Zero(t, next)
}
