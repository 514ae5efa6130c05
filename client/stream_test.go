package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// inTime waits for a value. It comes unless the code under test has a fault.
func inTime[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(time.Minute):
		require.Fail(t, "it never came")
		panic("not reached")
	}
}

// Each input of this Map depends on the result of the one before it.
func TestMapHasResultsBeforeItsInputsEnd(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 3)
	results := make(chan string, 1)
	results <- "start"
	inputs := func(yield func([]byte) bool) {
		for i := range 5 {
			if !yield(fmt.Appendf(nil, "%d after %s", i, inTime(t, results))) {
				return
			}
		}
	}
	var got []string
	for r, err := range c.Map(t.Context(), upper, inputs) {
		require.NoError(t, err)
		got = append(got, string(r.Output))
		results <- fmt.Sprint(r.Index)
	}
	require.Equal(t, []string{"0 AFTER START", "1 AFTER 0", "2 AFTER 1", "3 AFTER 2", "4 AFTER 3"}, got)
}

func TestMapThatIsLeftWhileItWaitsForInputsEnds(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	never := make(chan struct{})
	defer close(never)
	for _, err := range c.Map(t.Context(), upper, func(yield func([]byte) bool) {
		if yield([]byte("a")) {
			<-never
		}
	}) {
		require.NoError(t, err)
		break
	}
	require.True(t, cluster.jobs[1].cancelled)
}

func TestAJobThatSomebodyCancelsWhileItGrowsEndsItsMap(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	never := make(chan struct{})
	defer close(never)
	var last error
	for _, err := range c.Map(t.Context(), upper, func(yield func([]byte) bool) {
		if yield([]byte("a")) {
			<-never
		}
	}) {
		if err == nil {
			_, err := c.Job(1).Cancel(t.Context())
			require.NoError(t, err)
			continue
		}
		last = err
	}
	require.ErrorIs(t, last, task.ErrConflict)
	require.Len(t, cluster.jobs, 1)
}

func TestAPanicOfThePayloadsIsTheCallers(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 1)
	require.PanicsWithValue(t, "broken", func() {
		_, _ = c.Submit(t.Context(), client.Request{Spec: upper, Payloads: func(func([]byte) bool) { panic("broken") }})
	})
	cluster, c := setup(t, 1)
	require.PanicsWithValue(t, "broken", func() {
		for _, err := range c.Map(t.Context(), upper, func(yield func([]byte) bool) {
			yield([]byte("a"))
			_ = cluster.await(t.Context(), func() bool { return len(cluster.jobs) == 1 })
			panic("broken")
		}) {
			_ = err
		}
	})
	require.True(t, cluster.jobs[1].cancelled)
}

// One process begins a job, and sends its tasks in appends of any size. Another process completes the job.
func TestAKeyedJobIsCompletedWhereverItWasCut(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	payloads := large(60)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sizes := []int{1, 4, 7, 2, 1, 9, 3, 5}
	slow := func(yield func([]byte) bool) {
		rest := payloads
		for _, n := range sizes {
			for _, p := range rest[:n] {
				if !yield(p) {
					return
				}
			}
			rest = rest[n:]
			have := len(payloads) - len(rest)
			arrived := func() bool { return len(cluster.jobs) == 1 && len(cluster.jobs[1].payloads) == have }
			if cluster.await(ctx, arrived) != nil {
				return
			}
		}
		cancel()
		<-ctx.Done()
	}
	_, err := c.Submit(ctx, client.Request{Spec: upper, Key: "k", Payloads: slow, Linger: time.Millisecond})
	require.ErrorIs(t, err, context.Canceled)
	var cut []int
	for _, n := range cluster.jobs[1].appends {
		cut = append(cut, int(n))
	}
	require.Greater(t, len(cut), 3, "several pages of cuts")

	again := client.Request{Spec: upper, Key: "k", Payloads: slices.Values(payloads), Linger: time.Hour}
	// Without the second page of cuts, nobody knows where the next append has to end.
	cluster.inject("ListAppends", fault{}, fault{err: task.Errorf(task.KindInvalid, "no more cuts")})
	_, err = newClient(t, cluster).Submit(t.Context(), again)
	require.ErrorContains(t, err, "no more cuts")
	require.True(t, cluster.jobs[1].open)

	job, err := newClient(t, cluster).Submit(t.Context(), again)
	require.NoError(t, err)
	require.True(t, job.Existed())
	require.Equal(t, payloads, cluster.jobs[1].payloads)
	require.False(t, cluster.jobs[1].open)

	// Once more, after everything is done. With other tasks it is refused.
	_, err = c.Submit(t.Context(), again)
	require.NoError(t, err)
	other := slices.Clone(payloads)
	other[20] = []byte("other")
	again.Payloads = slices.Values(other)
	_, err = c.Submit(t.Context(), again)
	require.ErrorIs(t, err, task.ErrConflict)
	again.Payloads = slices.Values(payloads[:10])
	_, err = c.Submit(t.Context(), again)
	require.ErrorIs(t, err, task.ErrConflict)
	require.Len(t, cluster.jobs, 1)
}

// An hour without an input is no reason to give a job up.
func TestAJobThatGrowsSlowlyIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cluster, stop := newCluster(1)
		defer stop()
		c, err := client.New(cluster.config())
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
		job, err := c.Submit(t.Context(), client.Request{Spec: upper, Linger: time.Millisecond, Payloads: func(yield func([]byte) bool) {
			if yield([]byte("first")) {
				time.Sleep(time.Hour)
				yield([]byte("last"))
			}
		}})
		require.NoError(t, err)
		require.GreaterOrEqual(t, cluster.jobs[job.ID()].renewed, int(time.Hour/task.OpenTimeout))
		require.Equal(t, "first last", strings.Join([]string{
			string(cluster.jobs[job.ID()].payloads[0]), string(cluster.jobs[job.ID()].payloads[1]),
		}, " "))
	})
}

// A user hears within a second that there is no answer, not only after the whole timeout.
func TestWithinASecondItIsToldThatThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		told := make(chan time.Duration, 8)
		down := wire.WithDialer(func(context.Context, string) (net.Conn, error) { return nil, errors.New("connection refused") })
		c, err := client.New(client.Config{
			Addrs: []string{"s0:1", "s1:1"}, RequestTimeout: 10 * time.Second, DialOptions: []grpc.DialOption{down},
			Waiting: func(string) { told <- time.Since(began) },
		})
		require.NoError(t, err)
		_, err = c.Status(t.Context())
		require.ErrorIs(t, err, task.ErrUnavailable)
		require.Less(t, inTime(t, told), time.Second)
		require.NoError(t, c.Close())
	})
}
