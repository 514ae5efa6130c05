package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
)

// noHandler is a handler that no worker has: its jobs wait for ever.
const noHandler = "e2e.nobody"

// submitter submits jobs in loops, each job with its own key and name, and keeps which of
// them were acknowledged.
type submitter struct {
	stop chan struct{}
	wg   sync.WaitGroup
	// count is the submits that were acknowledged.
	count atomic.Int64

	mu sync.Mutex
	// ids has the job of each key, errs the errors.
	ids  map[string]uint64
	errs []error
	// last is when the last acknowledgement came, gap the longest time between two.
	last time.Time
	gap  time.Duration
}

// submitLoops starts loops, each of which calls submit with keys of its own until halt.
func submitLoops(loops int, prefix string, submit func(ctx context.Context, key string) (uint64, error)) *submitter {
	s := &submitter{stop: make(chan struct{}), ids: map[string]uint64{}}
	for loop := range loops {
		s.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-s.stop:
					return
				default:
				}
				key := fmt.Sprintf("%s-%d-%d", prefix, loop, i)
				ctx, cancel := context.WithTimeout(context.Background(), within)
				id, err := submit(ctx, key)
				cancel()
				s.note(key, id, err)
			}
		})
	}
	return s
}

func (s *submitter) note(key string, id uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("%s: %w", key, err))
		return
	}
	s.ids[key] = id
	s.count.Add(1)
	now := time.Now()
	if !s.last.IsZero() {
		s.gap = max(s.gap, now.Sub(s.last))
	}
	s.last = now
}

// more waits for n more acknowledgements.
func (s *submitter) more(t *testing.T, n int64) {
	t.Helper()
	from := s.count.Load()
	await(t, "further submits", func() bool { return s.count.Load() >= from+n })
}

// longest returns the longest time without an acknowledgement since the last call.
func (s *submitter) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap := s.gap
	s.gap = 0
	return gap
}

// halt ends the loops and returns the job of each key. No submit may have failed.
func (s *submitter) halt(t *testing.T) map[string]uint64 {
	t.Helper()
	close(s.stop)
	s.wg.Wait()
	require.Empty(t, s.errs)
	require.NotEmpty(t, s.ids)
	return s.ids
}

// submitWith submits by the SDK, which tries again by itself.
func submitWith(cl *client.Client, spec task.Spec) func(ctx context.Context, key string) (uint64, error) {
	return func(ctx context.Context, key string) (uint64, error) {
		spec := spec
		spec.Name = key
		job, err := cl.Submit(ctx, client.Request{Spec: spec, Key: key})
		if err != nil {
			return 0, err
		}
		return job.ID(), nil
	}
}

// submitVerb submits by the command line.
func (c *cluster) submitVerb(ctx context.Context, key string) (uint64, error) {
	cmd := c.command(ctx, "submit", "--request-timeout", within.String(), "--handler", noHandler, "--name", key, "--key", key)
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
}

// list returns all jobs as job list shows them.
func (c *cluster) list() []jsonv1.Job {
	c.t.Helper()
	return parse[[]jsonv1.Job](c.t, c.ok("job", "list", "--limit", "0", "-o", "json"))
}

// requireOnce requires that each key has exactly one job, the one that was acknowledged.
func (c *cluster) requireOnce(acknowledged map[string]uint64) {
	c.t.Helper()
	found := map[string]int{}
	for _, j := range c.list() {
		if j.Name == bulkName {
			continue // they only fill the log
		}
		found[j.Key]++
		require.Equal(c.t, j.Key, j.Name)
		if id, ok := acknowledged[j.Key]; ok {
			require.Equal(c.t, id, j.ID, "key %s", j.Key)
		}
	}
	for key := range acknowledged {
		require.Equal(c.t, 1, found[key], "jobs of key %s", key)
	}
	require.Len(c.t, found, len(acknowledged), "jobs that nobody asked for")
}

// Clients that submit in loops while the leader is killed three times get exactly one
// job for each request key, and the same one when they ask again.
func TestSubmitsThroughLeaderKillsMakeOneJobPerKey(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	cl := c.client()
	sdk := submitLoops(3, "sdk", submitWith(cl, task.Spec{Handler: noHandler}))
	verb := submitLoops(1, "verb", c.submitVerb)
	for range 3 {
		sdk.more(t, 50)
		verb.more(t, 5)
		leader := c.leader()
		leader.Kill()
		c.leader(leader)
		c.restart(leader)
	}
	sdk.more(t, 50)
	acknowledged := sdk.halt(t)
	for key, id := range verb.halt(t) {
		acknowledged[key] = id
	}
	t.Logf("%d submits, the longest time without one was %v", len(acknowledged), sdk.longest())
	c.requireOnce(acknowledged)

	asked := 0
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for key, id := range acknowledged {
		job, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: noHandler, Name: key}, Key: key})
		require.NoError(t, err)
		require.True(t, job.Existed())
		require.Equal(t, id, job.ID())
		if asked++; asked == 50 {
			break
		}
	}
	for key := range acknowledged {
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: noHandler, Name: "another"}, Key: key})
		require.ErrorIs(t, err, task.ErrConflict)
		break
	}
	c.requireOnce(acknowledged)
	c.verify()
}
