package fsm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/task"
)

// stat returns what is shown of a queue.
func stat(t *testing.T, m *fsm.Machine, name string) (out fsm.QueueStat) {
	t.Helper()
	stats, _ := m.QueueStats()
	for _, s := range stats {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("queue %q is not among %v", name, stats)
	return out
}

func TestQueuesAreCountedByState(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	session := b.openSession("w", 2)
	job := b.submit(&task.Spec{Handler: "h", Queue: "q"}, 5)
	b.submit(&task.Spec{Handler: "h", Queue: "q", Delay: time.Hour}, 3)
	b.plan(job, 0, 2, session)
	b.report(job, 0, 1, 0, task.OutcomeSucceeded)
	got := stat(t, b.m, "q")
	require.EqualValues(t, 3, got.Tasks[task.Pending])
	require.EqualValues(t, 1, got.Tasks[task.Assigned])
	require.EqualValues(t, 3, got.Tasks[task.Scheduled])
	require.Zero(t, got.Tasks[task.Succeeded])
	b.m.Derive()
	require.Equal(t, got, stat(t, b.m, "q"))
	b.must(cancelJobOp(job))
	require.Zero(t, stat(t, b.m, "q").Tasks[task.Pending])
	require.Empty(t, b.m.CheckInvariants())
}

// The oldest job may stand behind many others of a higher priority.
func TestTheOldestJobOfAQueueIsFoundBehindThoseOfOtherPriorities(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	began := b.clock
	b.submit(&task.Spec{Handler: "h", Priority: -3}, 1)
	for i := range int32(20) {
		b.clock += int64(time.Second)
		b.submit(&task.Spec{Handler: "h", Priority: i % 7}, 1)
	}
	require.Equal(t, began, stat(t, b.m, "default").OldestNs)
	b.submit(&task.Spec{Handler: "h", Queue: "later", Delay: time.Hour}, 1)
	require.Zero(t, stat(t, b.m, "later").OldestNs, "nothing of it can be granted yet")
	b.viewAll(b.clock + int64(2*time.Hour))
	require.Equal(t, b.clock+int64(time.Hour), stat(t, b.m, "later").OldestNs, "it waits since its start")
}

// A user who makes a queue for each job must not make a time series for each.
func TestOnlySoManyQueuesAreShownByName(t *testing.T) {
	t.Parallel()
	const queues = 300
	b := newBundle(t)
	jobs := make([]uint64, queues)
	for i := range jobs {
		jobs[i] = b.submit(&task.Spec{Handler: "h", Queue: fmt.Sprint("q", i)}, 2)
	}
	stats, n := b.m.QueueStats()
	require.Equal(t, queues, n)
	require.Len(t, stats, 257)
	require.EqualValues(t, 2*(queues-256), stat(t, b.m, "").Tasks[task.Pending])
	for _, job := range jobs {
		b.must(cancelJobOp(job))
	}
	b.flush()
	stats, n = b.m.QueueStats()
	require.Zero(t, n)
	require.Empty(t, stats)
	b.submit(&task.Spec{Handler: "h", Queue: "new"}, 1)
	require.EqualValues(t, 1, stat(t, b.m, "new").Tasks[task.Pending], "there is room again")
}
