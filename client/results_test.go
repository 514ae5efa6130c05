package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// submitted makes a job of n tasks with different payloads.
func submitted(t testing.TB, c *client.Client, n int) *client.Job {
	t.Helper()
	job, err := c.Submit(t.Context(), client.Request{Spec: upper, Payloads: func(yield func([]byte) bool) {
		for i := range n {
			if !yield(fmt.Appendf(nil, "task %d", i)) {
				return
			}
		}
	}})
	require.NoError(t, err)
	return job
}

func output(i uint32) string { return fmt.Sprintf("TASK %d", i) }

func TestResultStreamsGoOnBehindFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 3)
			job := submitted(t, c, 200)
			rng := rand.New(rand.NewPCG(seed, 3))
			for range 10 {
				f := storm(rng)
				f.messages = rng.IntN(5)
				cluster.inject("StreamResults", f)
			}
			var completed []uint32
			for r, err := range job.AsCompleted(t.Context()) {
				require.NoError(t, err)
				require.Equal(t, output(r.Index), string(r.Output))
				completed = append(completed, r.Index)
				if rng.IntN(50) == 0 {
					// A failover in the middle.
					cluster.elect(rng.IntN(3))
				}
			}
			require.Equal(t, cluster.jobs[job.ID()].done, completed)

			next := uint32(0)
			for r, err := range job.Results(t.Context()) {
				require.NoError(t, err)
				require.Equal(t, next, r.Index)
				next++
			}
			require.EqualValues(t, 200, next)
		})
	}
}

func TestResultTellsAllOfATask(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 1)
	for r, err := range submitted(t, c, 1).Results(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, task.Succeeded, r.State)
		require.Equal(t, task.NoReason, r.Reason)
		require.EqualValues(t, 1, r.Attempt)
		require.EqualValues(t, 1000, r.Token)
		require.Equal(t, "w1", r.Worker)
		require.Equal(t, 0, *r.ExitCode)
		require.True(t, r.FinishedAt.Equal(time.Unix(150, 0)))
		require.Nil(t, r.Cursor(), "results in index order have no cursor")
	}
}

func TestCursorGoesOnBehindEveryResult(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	job := submitted(t, c, 30)
	want := cluster.jobs[job.ID()].done
	for stopAt := range 30 {
		var got []uint32
		var cursor []byte
		for r, err := range job.AsCompleted(t.Context()) {
			require.NoError(t, err)
			got = append(got, r.Index)
			if len(got) == stopAt+1 {
				cursor = r.Cursor()
				break
			}
		}
		// Another client asks for the rest, and gets it in messages of another size.
		cluster.locked(func() { cluster.perMessage = 1 + stopAt%9 })
		for r, err := range c.Job(job.ID()).AsCompletedFrom(t.Context(), cursor) {
			require.NoError(t, err)
			got = append(got, r.Index)
		}
		require.Equal(t, want, got, "stopped at %d", stopAt)
	}
}

func TestBadCursorsAreRefused(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 1)
	job, other := submitted(t, c, 3), submitted(t, c, 3)
	var cursor []byte
	for r, err := range job.AsCompleted(t.Context()) {
		require.NoError(t, err)
		cursor = r.Cursor()
		break
	}
	for _, tc := range []struct {
		job    *client.Job
		cursor []byte
	}{{job, []byte("x")}, {job, cursor[:3]}, {other, cursor}, {job, append([]byte{9}, cursor[1:]...)}} {
		for _, err := range tc.job.AsCompletedFrom(t.Context(), tc.cursor) {
			require.ErrorIs(t, err, task.ErrInvalid)
		}
	}
}

// A cluster that was restored gives the start a cursor, so that each place of its results says which cluster it is of.
func TestCursorsWithinTheFirstMessageAreThoseOfTheirCluster(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	restored, asked := false, ""
	cluster.stream = func(req *rotav1.StreamResultsRequest, s grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
		asked = string(req.GetCursor())
		if restored && asked == "" {
			if err := s.Send(&rotav1.StreamResultsResponse{Cursor: []byte("start")}); err != nil {
				return err
			}
		}
		return s.Send(&rotav1.StreamResultsResponse{
			Groups: []*rotav1.ResultGroup{ok(0, 3)}, Cursor: []byte("a"), Complete: true, Job: &rotav1.Job{Tasks: &rotav1.TaskCounts{Total: 3}},
		})
	}
	second := func() (cursor []byte) {
		for r, err := range c.Job(1).AsCompleted(t.Context()) {
			require.NoError(t, err)
			if r.Index == 1 {
				cursor = r.Cursor()
			}
		}
		return cursor
	}
	old := second()
	restored = true
	for _, err := range c.Job(1).AsCompletedFrom(t.Context(), old) {
		require.ErrorIs(t, err, task.ErrConflict)
		require.ErrorContains(t, err, "from the start")
	}
	rest := 0
	for r, err := range c.Job(1).AsCompletedFrom(t.Context(), second()) {
		require.NoError(t, err)
		require.EqualValues(t, 2, r.Index)
		rest++
	}
	require.Equal(t, 1, rest)
	require.Equal(t, "start", asked)
}

func TestStreamMovesToTheNewLeader(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.manual = true
	knowsLeader(t, c, "s0:7420")
	job := submitted(t, c, 2)
	// The old leader is cut off: it keeps the stream, and has nothing to say.
	cluster.inject("StreamResults", fault{hang: true})
	done := make(chan []uint32, 1)
	go func() {
		var got []uint32
		for r, err := range job.AsCompleted(t.Context()) {
			if err != nil {
				break
			}
			got = append(got, r.Index)
		}
		done <- got
	}()
	require.Eventually(t, func() bool { return len(cluster.called("StreamResults")) == 1 }, time.Minute, time.Millisecond)
	cluster.elect(2)
	cluster.complete(job.ID(), 1)
	cluster.complete(job.ID(), 0)
	require.Equal(t, []uint32{1, 0}, <-done)
	require.Equal(t, []string{"s0", "s2"}, cluster.called("StreamResults"))
}

func TestStreamEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.manual = true
	job := submitted(t, c, 2)
	cluster.complete(job.ID(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var results, failures int
	for _, err := range job.AsCompleted(ctx) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			failures++
			continue
		}
		results++
		cancel()
	}
	require.Equal(t, 1, results)
	require.Equal(t, 1, failures)
}

func TestResultsOfAnUnknownJobAreNotFound(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 1)
	for _, err := range c.Job(9).Results(t.Context()) {
		require.ErrorIs(t, err, task.ErrNotFound)
	}
}

// ok is a correct group of results.
func ok(first, count uint32) *rotav1.ResultGroup {
	return &rotav1.ResultGroup{
		State: rotav1.TaskState_TASK_STATE_CANCELLED, Ranges: []*rotav1.IndexRange{{First: first, Count: count}},
	}
}

func TestResultsThatBreakAPromiseAreAnError(t *testing.T) {
	t.Parallel()
	type messages = []*rotav1.StreamResultsResponse
	msg := func(cursor string, groups ...*rotav1.ResultGroup) *rotav1.StreamResultsResponse {
		return &rotav1.StreamResultsResponse{Groups: groups, Cursor: []byte(cursor)}
	}
	end := func(total uint32) *rotav1.StreamResultsResponse {
		return &rotav1.StreamResultsResponse{Complete: true, Job: &rotav1.Job{Tasks: &rotav1.TaskCounts{Total: total}}}
	}
	with := func(change func(*rotav1.ResultGroup)) *rotav1.ResultGroup {
		g := ok(0, 2)
		change(g)
		return g
	}
	for name, tc := range map[string]struct {
		msgs messages
		want string
	}{
		"twice in a message":  {messages{msg("a", ok(0, 2), ok(1, 1))}, "task 1 came twice"},
		"twice in a stream":   {messages{msg("a", ok(0, 2)), msg("b", ok(1, 1))}, "task 1 came twice"},
		"cursor stands still": {messages{msg("a", ok(0, 2)), msg("a", ok(2, 1))}, "no cursor of its own"},
		"no cursor":           {messages{msg("", ok(0, 2))}, "no cursor of its own"},
		"gap":                 {messages{msg("a", ok(0, 2)), end(3)}, "the job has 3 tasks, but 2 results came"},
		"too many":            {messages{msg("a", ok(0, 2)), end(1)}, "the job has 1 tasks, but 2 results came"},
		"outputs cut short":   {messages{msg("a", with(func(g *rotav1.ResultGroup) { g.PackedOutputs = []byte{1, 'x', 5, 'y'} }))}, "cut short"},
		"outputs left over":   {messages{msg("a", with(func(g *rotav1.ResultGroup) { g.PackedOutputs = []byte{1, 'x', 0, 0} }))}, "belong to no task"},
		"not final":           {messages{msg("a", with(func(g *rotav1.ResultGroup) { g.State = rotav1.TaskState_TASK_STATE_PENDING }))}, "state pending"},
		"unknown state":       {messages{msg("a", with(func(g *rotav1.ResultGroup) { g.State = 99 }))}, "unknown task state"},
		"token below 1":       {messages{msg("a", with(func(g *rotav1.ResultGroup) { g.Granted, g.TokenOffset = true, -5 }))}, "token"},
		"endless range":       {messages{msg("a", ok(4_000_000_000, 4_000_000_000))}, "range of tasks ends"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 1)
			cluster.stream = func(_ *rotav1.StreamResultsRequest, s grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
				for _, m := range tc.msgs {
					if err := s.Send(m); err != nil {
						return err
					}
				}
				return nil
			}
			var last error
			for _, last = range c.Job(1).AsCompleted(t.Context()) {
			}
			require.ErrorContains(t, last, tc.want)
			require.Len(t, cluster.called("StreamResults"), 1)
		})
	}
}

func TestResultsOutOfIndexOrderAreAnError(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	cluster.stream = func(_ *rotav1.StreamResultsRequest, s grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
		return s.Send(&rotav1.StreamResultsResponse{Groups: []*rotav1.ResultGroup{ok(0, 2), ok(3, 1)}, Cursor: []byte("a")})
	}
	var last error
	for _, last = range c.Job(1).Results(t.Context()) {
	}
	require.ErrorContains(t, last, "task 3 came in the place of task 2")
}

// A server that goes on elsewhere than its cursor said is found out, whether it
// leaves results out or sends some again.
func TestServerThatForgetsItsCursorIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		second *rotav1.ResultGroup
		want   string
	}{
		"gap":       {ok(3, 2), "the job has 5 tasks, but 4 results came"},
		"duplicate": {ok(1, 4), "task 1 came twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 1)
			cluster.stream = func(req *rotav1.StreamResultsRequest, s grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
				if len(req.GetCursor()) == 0 {
					// The stream ends, as it does when its server shuts down.
					return s.Send(&rotav1.StreamResultsResponse{Groups: []*rotav1.ResultGroup{ok(0, 2)}, Cursor: []byte("a")})
				}
				return s.Send(&rotav1.StreamResultsResponse{
					Groups: []*rotav1.ResultGroup{tc.second}, Cursor: []byte("b"), Complete: true,
					Job: &rotav1.Job{Tasks: &rotav1.TaskCounts{Total: 5}},
				})
			}
			var last error
			for _, last = range c.Job(1).AsCompleted(t.Context()) {
			}
			require.ErrorContains(t, last, tc.want)
		})
	}
}

func BenchmarkAsCompleted(b *testing.B) {
	const perMessage = 1000
	group := &rotav1.ResultGroup{
		State: rotav1.TaskState_TASK_STATE_SUCCEEDED, Granted: true, TokenOffset: 1, Attempt: 1, Worker: "w1",
		Ranges: []*rotav1.IndexRange{{Count: perMessage}},
	}
	for range perMessage {
		group.PackedOutputs = task.PackAppend(group.GetPackedOutputs(), []byte(strings.Repeat("x", 16)))
	}
	cluster, c := setup(b, 1)
	cluster.stream = func(_ *rotav1.StreamResultsRequest, s grpc.ServerStreamingServer[rotav1.StreamResultsResponse]) error {
		for sent := 0; ; sent += perMessage {
			group.Ranges[0].First = uint32(sent % task.MaxTasks)
			if err := s.Send(&rotav1.StreamResultsResponse{Groups: []*rotav1.ResultGroup{group}, Cursor: fmt.Append(nil, sent)}); err != nil {
				return err
			}
		}
	}
	b.ReportAllocs()
	for got := 0; got < b.N; {
		for _, err := range c.Job(1).AsCompleted(b.Context()) {
			require.NoError(b, err)
			if got++; got >= b.N || got%task.MaxTasks == 0 {
				break
			}
		}
	}
}
