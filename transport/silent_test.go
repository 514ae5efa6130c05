package transport_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport"
	"github.com/rota-scheduler/rota/wire"
)

// A worker that says nothing holds its stream for a time only.
func TestASilentWorkerIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	ctx, _, conn := dialServer(t)
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

// For a worker that beats and reads nothing, everything that it was ever granted would wait to be sent.
func TestAWorkerThatReadsNothingIsGivenUp(t *testing.T) {
	t.Parallel()
	n := testcluster.Start(t, 1, nil).Servers[0].Node
	synctest.Test(t, func(t *testing.T) {
		ended := false
		out := transport.Unread(n, func() { ended = true })
		for seq := range uint64(11) {
			require.False(t, ended, "beat %d", seq)
			out.Beat(seq)
			time.Sleep(n.Fleet().Lease() / 10)
		}
		out.Beat(11)
		require.True(t, ended)
	})
}

// Otherwise its worker could keep an exclusive task for ever: each session that replaces the last one has a lease of
// its own.
func TestNobodyTakesThePlaceOfASessionWhoseLeaseIsLetEnd(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, func(cfg *node.Config) { cfg.LeaseTimeout = 10 * testcluster.Wait })
	conn, err := wire.Dial(c.Addrs()[0])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	first := openSession(ctx, t, conn)
	job, err := c.Client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "h", Serial: true}, Count: 1})
	require.NoError(t, err)
	var given []*rotav1.Assignment
	for len(given) == 0 {
		m, err := first.Recv()
		require.NoError(t, err)
		given = m.GetAssignments().GetAssignments()
	}
	n := c.Servers[0].Node
	session, open := n.State().Machine().SessionOf("w")
	require.True(t, open)
	require.True(t, n.Fleet().Shun(session.Id))
	second, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	hello := &rotav1.Hello{
		WorkerId: "w", BootNonce: []byte("2"), Replaces: session.Id, ReplacesNonce: []byte("1"), Slots: 4, Handlers: []string{"h"},
		Held: []*rotav1.HeldTasks{{JobId: job.ID(), TokenOffset: given[0].GetTokenOffset(), Ranges: []*rotav1.IndexRange{{Count: 1}}}},
	}
	require.NoError(t, second.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
	_, err = second.Recv()
	require.ErrorIs(t, wire.FromStatus(err), task.ErrUnavailable)
	require.NoError(t, ctx.Err())
	held, _ := n.State().Machine().Task(job.ID(), 0)
	require.Equal(t, session.Id, held.Session, "no other session has it")
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

// What a handler has begun may still send for a moment when the handler has returned.
func TestWaitIsForAllThatHandlersHaveBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &transport.Server{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		release := make(chan struct{})
		require.ErrorIs(t, transport.WithinOf(ctx, s, func() error { <-release; return nil }), task.ErrUnavailable)
		waited := make(chan struct{})
		go func() { s.Wait(); close(waited) }()
		synctest.Wait()
		select {
		case <-waited:
			t.Fatal("it did not wait")
		default:
		}
		close(release)
		<-waited
	})
}

// Submits that are under way when a server stops are answered, as long as there is somebody to be answered.
func TestAStreamOfSubmitsEndsWithItsClient(t *testing.T) {
	t.Parallel()
	n := testcluster.Start(t, 1, nil).Servers[0].Node
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- transport.WriteUnanswered(ctx, n) }()
	cancel()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(testcluster.Wait):
		t.Fatal("it waits for an answer that nobody reads")
	}
}

// What an answer says of workers that are missing counts as well: its client may not read it.
func TestAnswersThatExplainAreHeldWithTheirTexts(t *testing.T) {
	t.Parallel()
	why := strings.Repeat("x", fsm.MaxMissing)
	plain, explained := &rotav1.SubmitResponse{}, &rotav1.SubmitResponse{Missing: []string{why[1:], why[:1]}}
	held := func(r *rotav1.SubmitResponse) int64 { return transport.HeldOfAnswer(&rotav1.SubmitAnswer{Response: r}) }
	require.EqualValues(t, fsm.MaxMissing, held(explained)-held(plain))
}
