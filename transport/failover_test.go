package transport_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/worker"
)

// A client that submits in a loop while the leader is killed three times gets exactly
// one job for each request key.
func TestSubmitThroughLeaderKillsMakesOneJobPerKey(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	type made struct {
		key string
		id  uint64
	}
	out := make(chan made, 1<<16)
	stop := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(out)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key := fmt.Sprintf("key-%d", i)
			job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "none", Name: key}, Key: key})
			if err != nil {
				failed <- err
				return
			}
			out <- made{key, job.ID()}
		}
	}()
	for range 3 {
		l := c.Leader()
		// Some submits under each leader.
		m := c.Servers[l].Node.State().Machine()
		from := m.AppliedIndex()
		c.Eventually(func() bool { return m.AppliedIndex() > from+50 }, "submits under the leader")
		c.Kill(l)
		c.Leader()
		c.Restart(l)
	}
	close(stop)
	keys := map[string]uint64{}
	ids := map[uint64]bool{}
	for m := range out {
		require.False(t, ids[m.id], "job %d for two keys", m.id)
		ids[m.id] = true
		keys[m.key] = m.id
	}
	select {
	case err := <-failed:
		require.NoError(t, err)
	default:
	}
	found := map[string]int{}
	for j, err := range cl.List(ctx, client.ListOptions{}) {
		require.NoError(t, err)
		found[j.Spec.Name]++
		if id, ok := keys[j.Spec.Name]; ok {
			require.Equal(t, id, j.ID)
		}
	}
	for key := range keys {
		require.Equal(t, 1, found[key], key)
	}
	t.Logf("%d submits", len(keys))
	verify(t, c, cl)
}

// verify waits until all servers have the same digest at one index.
func verify(t *testing.T, c *testcluster.Cluster, cl *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	c.Eventually(func() bool {
		v, err := cl.Verify(ctx)
		assert.NoError(t, err)
		digests := map[uint64]bool{}
		for _, s := range v.Servers {
			assert.Empty(t, s.Violations)
			if s.Error == "" {
				digests[s.Digest] = true
			}
		}
		assert.LessOrEqual(t, len(digests), 1, "%+v", v)
		return v.OK
	}, "equal digests")
	c.CheckInvariants()
}

// Results come exactly once each, in both orders, while leaders are killed.
func TestResultsThroughLeaderKills(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	slow := func(ctx context.Context, tk *worker.Task) ([]byte, error) {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
		}
		return square(ctx, tk)
	}
	for i := range 3 {
		c.Worker(worker.Config{Name: fmt.Sprintf("w%d", i), Slots: 4, Handlers: map[string]worker.Handler{"square": slow}})
	}
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	const n = 4000
	var inputs []string
	for i := range n {
		inputs = append(inputs, strconv.Itoa(i))
	}
	job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "square"}, Payloads: client.Strings(inputs...)})
	require.NoError(t, err)
	ordered := make(chan error, 1)
	go func() {
		next := uint32(0)
		for r, err := range job.Results(ctx) {
			if err != nil || r.Index != next || string(r.Output) != strconv.Itoa(int(next*next)) {
				ordered <- fmt.Errorf("at %d: %+v, %w", next, r, err)
				return
			}
			next++
		}
		if next != n {
			ordered <- fmt.Errorf("%d ordered results", next)
		}
		ordered <- nil
	}()
	seen := map[uint32]bool{}
	kills := 0
	for r, err := range job.AsCompleted(ctx) {
		require.NoError(t, err)
		require.False(t, seen[r.Index])
		seen[r.Index] = true
		require.EqualValues(t, 1, r.Attempt, "a running task was restarted")
		if len(seen) == n/4 || len(seen) == n/2 {
			l := c.Leader()
			c.Kill(l)
			kills++
			c.Restart(l)
		}
	}
	require.Len(t, seen, n)
	require.Equal(t, 2, kills)
	require.NoError(t, <-ordered)
	verify(t, c, cl)
}

// All servers end at once and start again: acknowledged jobs are there, jobs in
// progress go on.
func TestAllServersKilledAndRestarted(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, func(cfg *node.Config) { cfg.SnapshotBytes, cfg.TrailingBytes = 64<<10, 1 })
	c.Worker(worker.Config{Name: "w", Slots: 2, Handlers: map[string]worker.Handler{"square": square}})
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	var jobs []*client.Job
	for round := range 3 {
		for i := range 20 {
			payloads := client.Strings(strconv.Itoa(i), strconv.Itoa(round))
			job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "square", Name: "r"}, Payloads: payloads})
			require.NoError(t, err)
			jobs = append(jobs, job)
		}
		for i := range c.Servers {
			c.Kill(i)
		}
		for i := range c.Servers {
			c.Restart(i)
		}
		c.Leader()
	}
	for k, job := range jobs {
		var got []string
		for r, err := range job.Results(ctx) {
			require.NoError(t, err)
			got = append(got, string(r.Output))
		}
		i, round := k%20, k/20
		require.Equal(t, []string{strconv.Itoa(i * i), strconv.Itoa(round * round)}, got)
	}
	verify(t, c, cl)
}

// A server that was away while the log was truncated catches up by a stream of the state.
func TestCatchUpBySnapshot(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, func(cfg *node.Config) { cfg.SnapshotBytes, cfg.TrailingBytes = 256<<10, 1 })
	c.Worker(worker.Config{Name: "w", Slots: 2, Handlers: map[string]worker.Handler{"square": square}})
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	away := (c.Leader() + 1) % 3
	c.Kill(away)
	payload := make([]byte, 4<<10)
	for i := range payload {
		payload[i] = '0'
	}
	var last *client.Job
	for range 20 {
		var err error
		last, err = cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "square"}, Payloads: func(yield func([]byte) bool) {
			for range 40 {
				if !yield(payload) {
					return
				}
			}
		}})
		require.NoError(t, err)
		_, err = last.Wait(ctx)
		require.NoError(t, err)
	}
	c.Restart(away)
	want := c.Servers[c.Leader()].Node.State().Machine().AppliedIndex()
	c.Eventually(func() bool { return c.Servers[away].Node.State().Machine().AppliedIndex() >= want }, "catch up")
	verify(t, c, cl)
	// What it holds is read from its own disk, after a restart too.
	c.Kill(away)
	c.Restart(away)
	info, err := c.Servers[away].Node.State().Job(last.ID())
	require.NoError(t, err)
	require.EqualValues(t, 40, info.Total)
	verify(t, c, cl)
}

// A server that was away for some time counts from the moment that it follows: the next
// one may be restarted then, and submits go on. Raft alone would let it wait for up to
// ten seconds more.
func TestAServerThatIsBackCountsAtOnce(t *testing.T) {
	t.Parallel()
	// Only raft's own pause may cause a delay.
	c := testcluster.Start(t, 3, calm)
	cl := c.Client()
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	submit := func() {
		t.Helper()
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "none"}})
		require.NoError(t, err)
	}
	leader := c.Leader()
	away, other := (leader+1)%3, (leader+2)%3
	c.Kill(away)
	for deadline := time.Now().Add(6 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		submit()
	}
	require.Equal(t, leader, c.Leader(), "the leader that has missed it all the time")
	missed := c.Servers[leader].Node.State().Machine().AppliedIndex()
	c.Restart(away)
	back := c.Servers[away].Node
	require.Eventually(t, back.CaughtUp, 5*time.Second, time.Millisecond, "what it has missed has not come")
	require.GreaterOrEqual(t, back.State().Machine().AppliedIndex(), missed, "it says so too early")
	c.Kill(other)
	submit()
	c.Restart(other)
	verify(t, c, cl)
}
