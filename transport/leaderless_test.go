package transport_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// A server that is alone or cut off says so long before its callers run out of time: another server may have a
// leader.
func TestAServerWithoutALeaderForLongRefuses(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	leader := c.Leader()
	alone, other := (leader+1)%3, (leader+2)%3
	conn, err := wire.Dial(c.Servers[alone].Addr)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	jobs := rotav1.NewJobServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 1}
	submit := func() error {
		_, err := jobs.Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}})
		return wire.FromStatus(err)
	}
	require.NoError(t, submit())
	c.Kill(other)
	c.Kill(leader)
	// The first call may have been sent on to the leader, and waits for the next one.
	require.NotErrorIs(t, submit(), context.DeadlineExceeded)
	for range 3 {
		require.ErrorIs(t, submit(), task.ErrUnavailable)
		_, err := jobs.ListJobs(ctx, &rotav1.ListJobsRequest{})
		require.ErrorIs(t, wire.FromStatus(err), task.ErrUnavailable, "a read")
	}
	_, err = jobs.ListJobs(ctx, &rotav1.ListJobsRequest{Read: &rotav1.ReadOptions{Stale: true}})
	require.NoError(t, err, "what is here can be read")
	require.NoError(t, ctx.Err())
	c.Restart(other)
	c.Leader()
	c.Eventually(func() bool { return submit() == nil }, "a submit with a leader again")
}

// fullLog is a log on a disk that may be full.
type fullLog struct {
	*raft.InmemStore
	full atomic.Bool
}

// StoreLogs implements raft.LogStore.
func (l *fullLog) StoreLogs(logs []*raft.Log) error {
	if l.full.Load() {
		return syscall.ENOSPC
	}
	return l.InmemStore.StoreLogs(logs)
}

// Nobody waits for a leader that cannot become ready because the disks of the others are full: whichever server is
// asked says why long before its callers run out of time.
func TestAnUnreadyLeaderSaysThatDisksAreFull(t *testing.T) {
	t.Parallel()
	logs := map[string]*fullLog{}
	c := testcluster.Start(t, 3, func(cfg *node.Config) {
		logs[cfg.NodeID] = &fullLog{InmemStore: raft.NewInmemStore()}
		cfg.Stores = logs[cfg.NodeID]
	})
	leader := c.Leader()
	// A server that does not know where another one is can send nobody there, and full disks take no
	// entry that says so.
	c.Eventually(func() bool {
		return !slices.ContainsFunc(c.Servers, func(s *testcluster.Server) bool { return len(s.Node.Addrs()) < len(c.Servers) })
	}, "every server knows where the others are")
	full := []int{leader, (leader + 1) % 3}
	for _, i := range full {
		logs[c.Servers[i].Config.NodeID].full.Store(true)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*testcluster.Wait)
	defer cancel()
	spec := &rotav1.JobSpec{Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "h"}}, MaxAttempts: 1}
	submitAt := func(s *testcluster.Server) error {
		conn, err := wire.Dial(s.Addr)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		_, err = rotav1.NewJobServiceClient(conn).Submit(ctx, &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}})
		return wire.FromStatus(err)
	}
	for _, s := range c.Servers {
		c.Eventually(func() bool {
			err := submitAt(s)
			return errors.Is(err, task.ErrExhausted) && strings.Contains(err.Error(), "a majority of the servers are full")
		}, "the reason at "+s.Config.NodeID)
	}
	require.NoError(t, ctx.Err())
	for _, i := range full {
		logs[c.Servers[i].Config.NodeID].full.Store(false)
	}
	c.Eventually(func() bool { return submitAt(c.Servers[leader]) == nil }, "a submit with space again")
}
