package client_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func TestWaitReturnsTheFinalJob(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.manual = true
	job := submitted(t, c, 2)
	rng := rand.New(rand.NewPCG(1, 4))
	for range 5 {
		cluster.inject("WaitJob", storm(rng))
	}
	type answer struct {
		info client.JobInfo
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		info, err := job.Wait(t.Context())
		done <- answer{info, err}
	}()
	cluster.complete(job.ID(), 0)
	cluster.elect(1)
	cluster.complete(job.ID(), 1)
	got := <-done
	require.NoError(t, got.err)
	require.Equal(t, task.JobSucceeded, got.info.State)
	require.EqualValues(t, 2, got.info.Total)
	require.EqualValues(t, 2, got.info.Counts[task.Succeeded])
	require.Equal(t, "upper", got.info.Spec.Handler)
	require.True(t, got.info.FinishedAt.Equal(time.Unix(200, 0)))
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.manual = true
	job := submitted(t, c, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := job.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, task.ErrUnavailable)
}

func TestJobsAndTasksAreDescribed(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 3)
	job := submitted(t, c, 3)
	info, err := job.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, job.ID(), info.ID)
	require.EqualValues(t, 17, info.AppliedIndex)
	require.True(t, info.SubmittedAt.Equal(time.Unix(100, 0)))
	require.True(t, info.StartedAt.IsZero())

	one, err := job.Task(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, client.TaskInfo{Index: 2, State: task.Succeeded, Attempt: 1, Token: 1002}, one)
	_, err = job.Task(t.Context(), 3)
	require.ErrorIs(t, err, task.ErrNotFound)
}

func TestCancelMayBeSentAgain(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.manual = true
	job := submitted(t, c, 3)
	done, err := job.CancelTask(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, client.CancelInfo{Cancelled: 1}, done)
	cluster.inject("CancelJob", fault{cut: true, after: true})
	_, err = job.Cancel(t.Context())
	require.NoError(t, err)
	info, err := job.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, task.JobCancelled, info.State)
	require.Equal(t, task.ReasonUser, info.Reason)
}

func TestRetryMakesOneJobThroughFaults(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	job := submitted(t, c, 3)
	cluster.inject("RetryJob", fault{cut: true}, fault{cut: true, after: true})
	again, err := c.Retry(t.Context(), job.ID(), client.RetryOptions{})
	require.NoError(t, err)
	require.True(t, again.Existed())
	require.Len(t, cluster.jobs, 2)
	info, err := again.Info(t.Context())
	require.NoError(t, err)
	require.Equal(t, job.ID(), info.RetryOf)

	cluster.inject("RetryJob", fault{cut: true, after: true})
	_, err = c.Retry(t.Context(), job.ID(), client.RetryOptions{NoKey: true})
	require.ErrorIs(t, err, task.ErrUnknownOutcome)
}

// A retry whose payloads take several requests makes one job. It counts as new, whatever the later answers say.
func TestRetryAsksUntilAllIsCopied(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	job := submitted(t, c, 3)
	cluster.copies = 3
	cluster.inject("RetryJob", fault{}, fault{cut: true})
	again, err := c.Retry(t.Context(), job.ID(), client.RetryOptions{})
	require.NoError(t, err)
	require.False(t, again.Existed())
	require.Zero(t, cluster.copies)
	require.Len(t, cluster.jobs, 2)

	cluster.copies = math.MaxInt
	_, err = c.Retry(t.Context(), job.ID(), client.RetryOptions{})
	require.ErrorContains(t, err, "is not complete after")
}

func TestListGoesThroughAllPages(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	for range 10 {
		submitted(t, c, 1)
	}
	cluster.inject("ListJobs", fault{}, fault{cut: true}, fault{}, fault{err: task.Errorf(task.KindUnavailable, "no leader")})
	var ids []uint64
	for info, err := range c.List(t.Context(), client.ListOptions{PageSize: 3, Stale: true, States: []task.JobState{task.JobSucceeded}}) {
		require.NoError(t, err)
		require.True(t, info.Stale)
		ids = append(ids, info.ID)
	}
	require.Equal(t, []uint64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, ids)
	for _, err := range c.List(t.Context(), client.ListOptions{}) {
		require.NoError(t, err)
		break
	}
}
