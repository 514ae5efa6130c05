package client_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// storm draws a fault of any sort.
func storm(rng *rand.Rand) fault {
	switch rng.IntN(6) {
	case 0:
		return fault{cut: true}
	case 1:
		return fault{cut: true, after: true}
	case 2:
		return fault{err: &task.Error{Kind: task.KindUnavailable, Msg: "no leader", Leader: fmt.Sprintf("s%d:7420", rng.IntN(3))}}
	case 3:
		return fault{err: &task.Error{Kind: task.KindExhausted, Msg: "full", RetryAfter: time.Millisecond}}
	case 4:
		return fault{err: task.Errorf(task.KindUnknownOutcome, "lost leadership"), after: rng.IntN(2) == 0}
	default:
		return fault{}
	}
}

func TestSubmitsThroughFaultsMakeOneJobEach(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 3)
			rng := rand.New(rand.NewPCG(seed, 1))
			const jobs = 20
			ids := map[uint64]bool{}
			for i := range jobs {
				for range rng.IntN(4) {
					cluster.inject("Submit", storm(rng))
				}
				// Half of them leave the key to the client.
				req := client.Request{Spec: upper, Payloads: client.Strings(fmt.Sprint(i))}
				if i%2 == 0 {
					req.Key = fmt.Sprintf("key-%d", i)
				}
				job, err := c.Submit(t.Context(), req)
				require.NoError(t, err)
				ids[job.ID()] = true
			}
			require.Len(t, ids, jobs)
			require.Len(t, cluster.jobs, jobs)
		})
	}
}

func TestSameKeyMakesOneJobAndAnotherBodyIsAConflict(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 3)
	first, err := c.Submit(t.Context(), client.Request{Spec: upper, Key: "k"})
	require.NoError(t, err)
	require.False(t, first.Existed())
	second, err := c.Submit(t.Context(), client.Request{Spec: upper, Key: "k"})
	require.NoError(t, err)
	require.True(t, second.Existed())
	require.Equal(t, first.ID(), second.ID())
	_, err = c.Submit(t.Context(), client.Request{Spec: upper, Key: "k", Count: 2})
	require.ErrorIs(t, err, task.ErrConflict)
}

func TestTasksCanShareOnePayload(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	spec := upper
	spec.SharedPayload = []byte("all")
	for _, tc := range []struct{ count, want int }{{0, 1}, {1, 1}, {1000, 1000}} {
		job, err := c.Submit(t.Context(), client.Request{Spec: spec, Count: tc.count})
		require.NoError(t, err)
		require.Equal(t, slices.Repeat([][]byte{[]byte("all")}, tc.want), cluster.jobs[job.ID()].payloads)
	}
}

// large returns n payloads of different lengths, of some KiB each.
func large(n int) [][]byte {
	var payloads [][]byte
	for i := range n {
		payloads = append(payloads, bytes.Repeat([]byte{byte('a' + i%26)}, 3000+i%1000))
	}
	return payloads
}

func TestLargeSubmitResumesThroughFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 3)
			rng := rand.New(rand.NewPCG(seed, 2))
			for _, method := range []string{"Submit", "AppendTasks", "CloseTasks"} {
				for range 6 {
					cluster.inject(method, storm(rng))
				}
			}
			payloads := large(400)
			job, err := c.Submit(t.Context(), client.Request{Spec: upper, Payloads: client.Payloads(payloads...), Hold: seed%2 == 0})
			require.NoError(t, err)
			require.Len(t, cluster.jobs, 1)
			j := cluster.jobs[job.ID()]
			require.Equal(t, payloads, j.payloads)
			require.False(t, j.open)
			require.Equal(t, seed%2 == 0, j.hold)
			require.Len(t, j.chunks, 7)
		})
	}
}

func TestChunksOfALargeJobAreUnderWaySideBySide(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	cluster.inject("AppendTasks", fault{hang: true})
	payloads := large(1000)
	submitted := make(chan *client.Job)
	go func() {
		job, err := c.Submit(t.Context(), client.Request{Spec: upper, Payloads: client.Payloads(payloads...)})
		if err != nil {
			t.Error(err)
		}
		submitted <- job
	}()
	// One gets no answer, and others follow it nevertheless.
	arrived := func() bool {
		n := 0
		for _, call := range cluster.calls {
			if strings.HasSuffix(call, " AppendTasks") {
				n++
			}
		}
		return n >= 4
	}
	require.NoError(t, cluster.await(t.Context(), arrived))
	cluster.servers[0].cut()
	job := <-submitted
	require.Equal(t, payloads, cluster.jobs[job.ID()].payloads)
	require.False(t, cluster.jobs[job.ID()].open)
}

func TestRequestsStayBelowTheSizeOfALogEntry(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	spec := upper
	spec.Meta = []task.Pair{{Key: "k", Value: strings.Repeat("v", 30_000)}}
	payloads := large(200)
	// The largest payload that is allowed goes alone.
	payloads = slices.Insert(payloads, 100, make([]byte, task.MaxPayload))
	job, err := c.Submit(t.Context(), client.Request{Spec: spec, Payloads: client.Payloads(payloads...)})
	require.NoError(t, err)
	j := cluster.jobs[job.ID()]
	require.Equal(t, payloads, j.payloads)
	// With its spec, the first request is no larger than the others.
	require.LessOrEqual(t, len(j.request), client.ChunkBytes+1000)
	for _, size := range j.chunks {
		if size < task.MaxPayload {
			require.LessOrEqual(t, size, client.ChunkBytes)
		}
	}
}

func TestInterruptedSubmitIsCompletedByTheSameRequest(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	payloads := large(400)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The first process ends in the middle.
	interrupted := func(yield func([]byte) bool) {
		for i, p := range payloads {
			if i == 250 {
				cancel()
			}
			if !yield(p) {
				return
			}
		}
	}
	job, err := c.Submit(ctx, client.Request{Spec: upper, Key: "k", Payloads: interrupted})
	require.ErrorIs(t, err, context.Canceled)
	require.NotNil(t, job)
	require.True(t, cluster.jobs[job.ID()].open)

	again, err := newClient(t, cluster).Submit(t.Context(), client.Request{Spec: upper, Key: "k", Payloads: slices.Values(payloads)})
	require.NoError(t, err)
	require.True(t, again.Existed())
	require.Equal(t, job.ID(), again.ID())
	require.Equal(t, payloads, cluster.jobs[job.ID()].payloads)
	require.False(t, cluster.jobs[job.ID()].open)

	// Once more, after everything is done: nothing changes.
	_, err = c.Submit(t.Context(), client.Request{Spec: upper, Key: "k", Payloads: slices.Values(payloads)})
	require.NoError(t, err)
	require.Len(t, cluster.jobs[job.ID()].payloads, 400)

	// The client finds out that other tasks have the same key, also if they differ only far behind the first request.
	payloads[399] = []byte("other")
	_, err = c.Submit(t.Context(), client.Request{Spec: upper, Key: "k", Payloads: slices.Values(payloads)})
	require.ErrorIs(t, err, task.ErrConflict)
}

func TestLargeRequestWithABadPayloadIsCancelled(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	payloads := append(large(100), make([]byte, task.MaxPayload+1))
	job, err := c.Submit(t.Context(), client.Request{Spec: upper, Payloads: client.Payloads(payloads...)})
	require.ErrorIs(t, err, task.ErrTooLarge)
	require.ErrorContains(t, err, "task 100")
	require.NotNil(t, job)
	require.True(t, cluster.jobs[job.ID()].cancelled)
}

func TestRequestsAtFaultAreRefusedWithoutACall(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	for name, r := range map[string]client.Request{
		"no work":        {},
		"count and list": {Spec: upper, Count: 1, Payloads: client.Strings("a")},
		"negative count": {Spec: upper, Count: -1},
		"huge count":     {Spec: upper, Count: task.MaxTasks + 1},
		"no payloads":    {Spec: upper, Payloads: client.Strings()},
		"large payload":  {Spec: upper, Payloads: client.Payloads(make([]byte, task.MaxPayload+1))},
		"long key":       {Spec: upper, Key: strings.Repeat("k", 300)},
		"key and no key": {Spec: upper, Key: "k", NoKey: true},
		"binary key":     {Spec: upper, Key: "\xff"},
		"binary command": {Spec: task.Spec{Command: []string{"echo", "\xff"}}},
		"pair twice":     {Spec: task.Spec{Handler: "upper", Meta: []task.Pair{{Key: "a"}, {Key: "a"}}}},
	} {
		job, err := c.Submit(t.Context(), r)
		require.Error(t, err, name)
		require.Contains(t, []task.Kind{task.KindInvalid, task.KindTooLarge}, task.KindOf(err), name)
		require.Nil(t, job, name)
	}
	require.Empty(t, cluster.called("Submit"))
}

func TestPairsNeedNotBeSorted(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 1)
	meta := []task.Pair{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}}
	_, err := c.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "upper", Meta: meta}})
	require.NoError(t, err)
	require.Equal(t, "b", meta[0].Key)
}

func TestMapReturnsResultsInTheOrderOfInputs(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.inject("StreamResults", fault{cut: true, messages: 1}, fault{cut: true, messages: 2})
	var inputs []string
	for i := range 100 {
		inputs = append(inputs, fmt.Sprintf("input %d", i))
	}
	var got []string
	for r, err := range c.Map(t.Context(), upper, client.Strings(inputs...)) {
		require.NoError(t, err)
		got = append(got, strings.ToLower(string(r.Output)))
	}
	require.Equal(t, inputs, got)
	require.Empty(t, cluster.called("CancelJob"))
}

func TestMapOfNothingMakesNoJob(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	for _, err := range c.Map(t.Context(), upper, client.Strings()) {
		require.Fail(t, "there is a result", "%v", err)
	}
	require.Empty(t, cluster.jobs)
}

func TestMapThatIsLeftEarlyCancelsItsJob(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(context.CancelFunc, iter.Seq2[client.Result, error]){
		"break": func(_ context.CancelFunc, seq iter.Seq2[client.Result, error]) {
			for _, err := range seq {
				require.NoError(t, err)
				break
			}
		},
		"context": func(cancel context.CancelFunc, seq iter.Seq2[client.Result, error]) {
			var last error
			for _, last = range seq {
				cancel()
			}
			require.ErrorIs(t, last, context.Canceled)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, c := setup(t, 3)
			cluster.manual = true
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				if cluster.await(ctx, func() bool { return len(cluster.jobs) == 1 }) == nil {
					cluster.complete(1, 0)
				}
			}()
			leave(cancel, c.Map(ctx, upper, client.Strings("a", "b", "c")))
			require.True(t, cluster.jobs[1].cancelled)
		})
	}
}

func TestMapReportsABadSpec(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 1)
	var last error
	for _, last = range c.Map(t.Context(), task.Spec{}, client.Strings()) {
	}
	require.ErrorIs(t, last, task.ErrInvalid)
}

// If the answer comes just as time runs out, the outcome is known.
func TestAnAnswerIsNotLostAsTimeRunsOut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		resp, err := client.WaitAnswered(ctx, &rotav1.SubmitResponse{JobId: 7})
		require.NoError(t, err)
		require.EqualValues(t, 7, resp.GetJobId())
	}
}
