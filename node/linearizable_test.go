package node_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/internal/sim/cluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

// confirm returns when a read at n may begin.
type confirm func(ctx context.Context, n *node.Node) error

// TestReadsAreLinearizable reads in two situations in which a server believes that it leads, and lacks acknowledged
// writes. It confirms the reads in two ways. The way that the package uses must never be stale. The other one must
// be stale at least once, or the situations prove nothing.
func TestReadsAreLinearizable(t *testing.T) {
	t.Parallel()
	barrier := func(ctx context.Context, n *node.Node) error { return n.Barrier(ctx) }
	verify := func(_ context.Context, n *node.Node) error { return n.ConfirmByVerifyLeader() }
	for _, tc := range []struct {
		name      string
		situation func(*testing.T, *cluster.Cluster, confirm) reads
		confirm   confirm
		linear    bool
	}{
		{"new leader/barrier", readAtNewLeader, barrier, true},
		{"new leader/verifyLeader", readAtNewLeader, verify, false},
		{"resumed leader/barrier", readAtResumedLeader, barrier, true},
		{"resumed leader/verifyLeader", readAtResumedLeader, verify, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var sum reads
			trial := uint64(0)
			// One stale read is enough.
			for ; trial < trials || !tc.linear && sum.stale == 0 && trial < maxTrials; trial++ {
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					c := cluster.New(cluster.Config{Servers: 3, Dir: dir, Seed: trial})
					require.NoError(t, c.StartAll())
					r := tc.situation(t, c, tc.confirm)
					sum.confirmed += r.confirmed
					sum.stale += r.stale
					require.NoError(t, c.Close())
					require.NoError(t, c.Fatal())
				})
			}
			t.Logf("of %d reads %d were confirmed and %d of those stale", trial, sum.confirmed, sum.stale)
			if tc.linear {
				require.Zero(t, sum.stale, "stale reads")
				// A resumed leader that was replaced confirms nothing; a new one serves.
				require.True(t, sum.confirmed > 0 || tc.name == "resumed leader/barrier", "no read was confirmed")
			} else {
				require.NotZero(t, sum.stale, "no read was stale: the situation is not the one that this test is about")
			}
		})
	}
}

// trials of each situation. Not every trial produces it: election timeouts are random, and only one trial in four
// leaves a resumed leader in place for long enough.
const (
	trials    = 20
	maxTrials = 200
)

// reads counts reads that were confirmed, and those among them that missed a write.
type reads struct{ confirmed, stale int }

func (r *reads) read(n *node.Node, job uint64) {
	r.confirmed++
	if _, err := n.State().Job(job); err != nil {
		r.stale++
	}
}

// readAtNewLeader cuts the leader off at the moment when it acknowledges a write, and reads at its successor as
// early as possible.
func readAtNewLeader(t *testing.T, c *cluster.Cluster, confirm confirm) (r reads) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	old, err := c.WaitLeader(ctx)
	require.NoError(t, err)
	var job uint64
	for range 20 {
		job, err = submit(ctx, old.Node())
		require.NoError(t, err)
	}
	c.Net.CutOff([]string{old.Name}, c.Names())
	for {
		for _, s := range c.Servers {
			if n := s.Node(); s != old && n.RaftState() == raft.Leader && confirm(ctx, n) == nil {
				r.read(n, job)
				return r
			}
		}
		require.NoError(t, ctx.Err())
		time.Sleep(100 * time.Microsecond)
	}
}

// readAtResumedLeader reads at a leader that was paused, and replaced in the meantime. When it continues, it finds
// answers that were sent before its pause. Nobody can stop one process in a bubble. Instead, the answers come one by
// one, just fast enough that the leader does not notice how long it has heard nothing else.
func readAtResumedLeader(t *testing.T, c *cluster.Cluster, confirm confirm) (r reads) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	old, err := c.WaitLeader(ctx)
	require.NoError(t, err)
	_, err = submit(ctx, old.Node())
	require.NoError(t, err)
	h := &holder{leader: old.Name}
	c.Net.SetIntercept(h.intercept)
	// Then each of raft's loops waits for an answer.
	time.AfterFunc(50*time.Millisecond, h.silence)
	read := make(chan reads, 1)
	go func() {
		var r reads
		defer func() { read <- r }()
		job, ok := submitElsewhere(ctx, c, old)
		if !ok || old.Node().RaftState() != raft.Leader {
			return // it took too long
		}
		short, stop := context.WithTimeout(ctx, 5*time.Second)
		defer stop()
		if confirm(short, old.Node()) == nil {
			r.read(old.Node(), job)
		}
	}()
	// The leader's lease is 400 ms, and an answer that is held for a second is lost.
	const slowly = 300 * time.Millisecond
	for time.Sleep(slowly); h.release(); {
		time.Sleep(slowly)
	}
	r = <-read
	c.Net.SetIntercept(nil)
	return r
}

// holder holds answers to a leader back.
type holder struct {
	leader string

	mu     sync.Mutex
	silent bool
	held   []chan struct{}
}

func (h *holder) intercept(ctx context.Context, from, to string, answer bool) bool {
	h.mu.Lock()
	switch {
	case from != h.leader && to != h.leader:
		h.mu.Unlock()
		return true
	case !answer || from == h.leader:
		// The leader hears no other server, and after a moment no other server hears the leader.
		goes := from == h.leader && !h.silent
		h.mu.Unlock()
		return goes
	}
	wait := make(chan struct{})
	h.held = append(h.held, wait)
	h.mu.Unlock()
	select {
	case <-wait:
		return true
	case <-ctx.Done():
		return false
	}
}

// silence stops the leader's messages.
func (h *holder) silence() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = true
}

// release lets one answer go; false: there is none left.
func (h *holder) release() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		return false
	}
	close(h.held[0])
	h.held = h.held[1:]
	return true
}

// submitElsewhere submits a job at the successor of a leader, as soon as there is one.
func submitElsewhere(ctx context.Context, c *cluster.Cluster, old *cluster.Server) (job uint64, ok bool) {
	for ctx.Err() == nil {
		for _, s := range c.Servers {
			if _, ready := s.Node().Ready(); s == old || !ready {
				continue
			}
			if job, err := submit(ctx, s.Node()); err == nil {
				return job, true
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, false
}

// submit makes a job of one task.
func submit(ctx context.Context, n *node.Node) (job uint64, err error) {
	raw, err := fsm.EncodeSpec(&task.Spec{Handler: "none"})
	if err != nil {
		return 0, err
	}
	res, err := n.Propose(ctx, &logpb.Op{Op: &logpb.Op_Submit{Submit: &logpb.Submit{Spec: raw, Tasks: &logpb.Tasks{Count: 1}}}})
	return res.Job, err
}
