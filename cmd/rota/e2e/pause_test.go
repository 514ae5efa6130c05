package e2e

import (
	"context"
	"maps"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// A leader is paused until another server takes its place, and then goes on in the middle of
// its work. That does no harm: each request key has one job, and all servers have the same
// state.
func TestPausedLeadersHarmNothing(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3, Workers: 2})
	loops := []*submitter{
		submitLoops(4, "nobody", submitWith(c.client(), task.Spec{Handler: noHandler})),
		submitLoops(4, "worker", submitWith(c.client(), task.Spec{Handler: "rota.noop"})),
	}
	for range 5 {
		for _, l := range loops {
			l.more(t, 50)
		}
		paused := c.leader()
		require.NoError(t, paused.Signal(syscall.SIGSTOP))
		c.leader(paused)
		require.NoError(t, paused.Signal(syscall.SIGCONT))
		c.ready(paused)
	}
	acknowledged := loops[0].halt(t)
	maps.Copy(acknowledged, loops[1].halt(t))
	c.requireOnce(acknowledged)
	c.verify()
}

// A follower forwards a request to a leader that is paused. It must not keep its client waiting for ever.
func TestRequestIsNotKeptByAPausedLeader(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 3})
	follower := c.followers()[0]
	leader := c.leader()
	require.NoError(t, leader.Signal(syscall.SIGSTOP))
	submit := func(ctx context.Context, jobs rotav1.JobServiceClient) error {
		_, err := jobs.Submit(ctx, &rotav1.SubmitRequest{
			Spec: wire.SpecToProto(&task.Spec{Handler: noHandler, Name: "k"}), RequestKey: "k", Tasks: &rotav1.TaskSet{Count: 1},
		})
		return err
	}
	err := c.at(follower, submit)
	require.NotEqual(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
	if err != nil {
		require.ErrorIs(t, wire.FromStatus(err), task.ErrUnknownOutcome)
		require.NoError(t, c.at(follower, submit), "to be sent again with its key")
	}
	require.NoError(t, leader.Signal(syscall.SIGCONT))
	require.Len(t, c.list(), 1)
}
