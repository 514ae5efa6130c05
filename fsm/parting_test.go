package fsm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// A task that ends what watches over it, again and again, is as bad as one that ends its worker:
// it is not tried at once again, and not for ever.
func TestATaskThatIsLostAgainAndAgainEnds(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	s := b.openSession("w", 1)
	job := b.submit(&task.Spec{Handler: "h", MaxAttempts: 1}, 1)
	for lost := 1; ; lost++ {
		require.EqualValues(t, 1, b.plan(job, 0, 1, s).Granted)
		info, ok := b.m.Task(job, 0)
		require.True(t, ok)
		require.EqualValues(t, lost, info.Attempt)
		b.report(job, 0, 1, int64(info.Token)-1, task.OutcomeLost)
		info, _ = b.m.Task(job, 0)
		if lost == task.MaxLost {
			require.Equal(t, task.Failed, info.State)
			require.Equal(t, task.ReasonWorkerLost, info.Reason)
			return
		}
		require.Equal(t, task.Scheduled, info.State)
		require.Zero(t, b.plan(job, 0, 1, s).Granted, "it waits")
		b.clock += int64(time.Hour)
	}
}

// What a worker had not started when it went is no attempt, and its number is given again.
func TestWhatALeavingWorkerHadNotStartedIsNoAttempt(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		op      *logpb.CloseSession
		attempt uint32
	}{
		"unstarted": {&logpb.CloseSession{Graceful: true, Unstarted: true}, 1},
		"started":   {&logpb.CloseSession{Graceful: true}, 2},
		"lost":      {&logpb.CloseSession{Unstarted: true}, 2},
	} {
		b := newBundle(t)
		s := b.openSession("w", 1)
		job := b.submit(&task.Spec{Handler: "h"}, 1)
		b.plan(job, 0, 1, s)
		want.op.Id = s
		b.must(&logpb.Op{Op: &logpb.Op_CloseSession{CloseSession: want.op}})
		require.EqualValues(t, 1, b.plan(job, 0, 1, b.openSession("v", 1)).Granted)
		info, ok := b.m.Task(job, 0)
		require.True(t, ok)
		require.Equal(t, want.attempt, info.Attempt, name)
	}
}
