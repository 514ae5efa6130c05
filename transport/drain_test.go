package transport_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/worker"
)

// A worker ends while a backlog waits that only it can run, and one of its tasks takes its time. It is granted
// nothing more, and the backlog has cost no attempt, and no entry of the log.
func TestAWorkerThatEndsGetsNoTasks(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	// The backlog takes 25 s, and the drain 10: long enough to see both, unless the machine is too busy for anything.
	const slots, tasks, drains = 4, 10_000, 10 * time.Second
	var ran atomic.Int64
	handler := func(ctx context.Context, t *worker.Task) ([]byte, error) {
		ran.Add(1)
		takes := 10 * time.Millisecond
		if t.Index == 0 && t.Attempt == 1 {
			takes = time.Hour
		}
		select {
		case <-time.After(takes):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	stop := c.Worker(worker.Config{Name: "w1", Slots: slots, Handlers: map[string]worker.Handler{"h": handler}, StopTimeout: drains})
	job, err := c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "h"}, Count: tasks})
	require.NoError(t, err)
	c.Eventually(func() bool { return ran.Load() > 100 }, "some have run")
	var stopping sync.WaitGroup
	stopping.Go(stop)
	c.Eventually(func() bool {
		workers, err := c.Client().Workers(ctx, client.WorkersOptions{})
		return err == nil && len(workers) == 1 && workers[0].Draining
	}, "it is known to drain")
	before := c.Servers[0].Node.State().Machine().AppliedIndex()
	stopping.Wait()
	require.Less(t, c.Servers[0].Node.State().Machine().AppliedIndex()-before, uint64(20), "entries of the log")
	require.Less(t, ran.Load(), int64(tasks))

	c.Worker(worker.Config{Name: "w2", Slots: slots, Handlers: map[string]worker.Handler{"h": func(context.Context, *worker.Task) ([]byte, error) { return nil, nil }}})
	info, err := job.Wait(ctx)
	require.NoError(t, err)
	require.Equal(t, task.JobSucceeded, info.State)
	for r, err := range job.Results(ctx) {
		require.NoError(t, err)
		want := uint32(1)
		if r.Index == 0 {
			want = 2
		}
		require.Equal(t, want, r.Attempt, "task %d: only what had run was an attempt", r.Index)
	}
}

// An unhealthy worker keeps its session, is shown with its trouble, and gets nothing until it is
// healthy again.
func TestAnUnhealthyWorkerGetsNoTasks(t *testing.T) {
	t.Parallel()
	ctx, c, conn := dialServer(t)
	stream := openSession(ctx, t, conn)
	beat := func(seq uint64, s *rotav1.WorkerState) {
		t.Helper()
		require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Seq: seq, State: s}}}))
		m, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, seq, m.GetBeatAnswer().GetSeq(), "%v", m)
	}
	beat(1, &rotav1.WorkerState{Unhealthy: strings.Repeat("no space left ", 100)})
	workers, err := c.Client().Workers(ctx, client.WorkersOptions{})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(workers[0].Unhealthy, "no space left"))
	require.LessOrEqual(t, len(workers[0].Unhealthy), task.MaxHealth)
	require.True(t, workers[0].Connected)
	job, err := c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "h"}, Count: 3})
	require.NoError(t, err)
	// A grant would come between these answers.
	for seq := uint64(2); seq < 50; seq++ {
		beat(seq, &rotav1.WorkerState{Unhealthy: "no space left"})
	}
	require.NoError(t, stream.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Beat{Beat: &rotav1.Beat{Seq: 50}}}))
	granted := uint32(0)
	for granted < 3 {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAssignments().GetAssignments() {
			require.Equal(t, job.ID(), a.GetJobId())
			require.EqualValues(t, 1, a.GetAttempt())
			granted += a.GetRange().GetCount()
		}
	}
}

// A worker that leaves says whether what it holds was started. If it was not, the next attempt gets the same number.
func TestAGoodbyeSaysWhetherWhatIsHeldWasStarted(t *testing.T) {
	t.Parallel()
	for unstarted, want := range map[bool]uint32{true: 1, false: 2} {
		c := testcluster.Start(t, 1, nil)
		conn, err := wire.Dial(c.Addrs()[0])
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, conn.Close()) })
		ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
		defer cancel()
		_, err = c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "h"}, Count: 1})
		require.NoError(t, err)
		granted := func(stream sessionStream) uint32 {
			for {
				m, err := stream.Recv()
				require.NoError(t, err)
				if a := m.GetAssignments().GetAssignments(); len(a) > 0 {
					return a[0].GetAttempt()
				}
			}
		}
		first := openSession(ctx, t, conn)
		require.EqualValues(t, 1, granted(first))
		goodbye := &rotav1.Goodbye{Unstarted: unstarted}
		require.NoError(t, first.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Goodbye{Goodbye: goodbye}}))
		answer, err := first.Recv()
		require.NoError(t, err)
		require.NotNil(t, answer.GetGoodbyeAnswer())
		require.Equal(t, want, granted(openSession(ctx, t, conn)))
	}
}

type sessionStream = grpc.BidiStreamingClient[rotav1.SessionRequest, rotav1.SessionResponse]
