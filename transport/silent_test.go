package transport_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/wire"
)

// A worker that says nothing holds its stream for a time only.
func TestASilentWorkerIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	stream, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	_, err = stream.Recv()
	require.ErrorIs(t, wire.FromStatus(err), task.ErrUnavailable)
	require.NoError(t, ctx.Err())
}

// A submit that was under way when its client went is followed by nobody.
func TestNobodyFollowsForAClientThatIsGone(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	watchers := c.Servers[0].Node.State().Watchers()
	transport.AnswerWhoIsGone(c.Servers[0].Node, 42)
	require.Zero(t, watchers.Watched())
}

// A client that does not read its results does not keep a stream alive that has to end.
func TestAStreamEndsThoughItsPeerReadsNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	defer close(release)
	ended := make(chan error, 1)
	go func() {
		ended <- transport.Within(ctx, func() error { <-release; return nil })
	}()
	cancel()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, task.ErrUnavailable)
	case <-time.After(testcluster.Wait):
		t.Fatal("it waits for the peer")
	}
}
