package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/leaks"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var upper = task.Spec{Handler: "upper"}

// knowsLeader waits until the client has heard who leads.
func knowsLeader(t *testing.T, c *client.Client, addr string) {
	t.Helper()
	require.Eventually(t, func() bool { return c.LeaderAddr() == addr }, time.Minute, time.Millisecond)
}

func TestNewRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for _, addrs := range [][]string{nil, {"localhost"}, {"a:1", ":2"}} {
		_, err := client.New(client.Config{Addrs: addrs})
		require.ErrorIs(t, err, task.ErrInvalid)
	}
}

func TestCallsGoToTheLeaderOnceItIsKnown(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	knowsLeader(t, c, "s0:7420")
	cluster.elect(2)
	knowsLeader(t, c, "s2:7420")
	for range 5 {
		_, err := c.Submit(t.Context(), client.Request{Spec: upper})
		require.NoError(t, err)
	}
	require.Equal(t, []string{"s2", "s2", "s2", "s2", "s2"}, cluster.called("Submit"))
}

func TestHintOfAnErrorIsFollowedAtOnce(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(3)
	t.Cleanup(stop)
	cluster.refuse = true
	// This client knows one follower only, and learns the leader's address from it.
	cfg := cluster.config()
	cfg.Addrs = cfg.Addrs[1:2]
	cluster.inject("WatchLeader", fault{hang: true})
	c, err := client.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	_, err = c.Submit(t.Context(), client.Request{Spec: upper, NoKey: true})
	require.NoError(t, err)
	require.Equal(t, []string{"s1", "s0"}, cluster.called("SubmitStream"))
	require.Equal(t, "s0:7420", c.LeaderAddr())
}

func TestServerThatIsDownIsPassedOverWithoutARequestKey(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.servers[0].kill()
	cluster.servers[1].kill()
	cluster.elect(2)
	for range 5 {
		_, err := c.Submit(t.Context(), client.Request{Spec: upper, NoKey: true})
		require.NoError(t, err)
	}
	require.Len(t, cluster.jobs, 5)
}

// submitThroughElection submits with a key, and elects another server once the first one,
// which does not answer, has made the job.
func submitThroughElection(t *testing.T, cluster *fakeCluster, c *client.Client) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), client.Request{Spec: upper, Key: "k"})
		done <- err
	}()
	require.NoError(t, cluster.await(t.Context(), func() bool { return len(cluster.jobs) == 1 }))
	cluster.elect(1)
	require.NoError(t, <-done)
}

func TestCallThatHangsOnTheOldLeaderMovesToTheNewOne(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	knowsLeader(t, c, "s0:7420")
	cluster.inject("Submit", fault{hang: true, after: true})
	submitThroughElection(t, cluster, c)
	require.Equal(t, []string{"s0", "s1"}, cluster.called("Submit"))
	require.Len(t, cluster.jobs, 1)
}

// A leader is known before it is ready, and the one before it may be silent for ever.
func TestLeaderThatIsNotReadyYetIsAskedAgain(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	knowsLeader(t, c, "s0:7420")
	notReady := &task.Error{Kind: task.KindUnavailable, Msg: "not ready", Leader: "s1:7420"}
	cluster.inject("Submit", fault{hang: true, after: true}, fault{err: notReady}, fault{err: notReady})
	submitThroughElection(t, cluster, c)
	require.Equal(t, []string{"s0", "s1", "s1", "s1"}, cluster.called("Submit"))
}

// A server that does not answer is the last to be tried again.
func TestSilentServerIsTheLastToBeTried(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	knowsLeader(t, c, "s0:7420")
	cluster.inject("Submit", fault{hang: true, after: true}, fault{err: &task.Error{Kind: task.KindUnavailable, Msg: "down"}})
	submitThroughElection(t, cluster, c)
	require.Equal(t, []string{"s0", "s1", "s2"}, cluster.called("Submit"))
}

func TestCallWithoutAKeyIsNotTakenOffTheOldLeader(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	knowsLeader(t, c, "s0:7420")
	cluster.inject("Submit", fault{hang: true, after: true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(ctx, client.Request{Spec: upper, NoKey: true})
		done <- err
	}()
	require.NoError(t, cluster.await(t.Context(), func() bool { return len(cluster.jobs) == 1 }))
	cluster.elect(1)
	knowsLeader(t, c, "s1:7420")
	select {
	case err := <-done:
		require.Fail(t, "the call ended", "%v", err)
	default:
	}
	cancel()
	err := <-done
	require.ErrorIs(t, err, task.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, cluster.called("Submit"), 1)
}

func TestFullQueueIsWaitedFor(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	full := fault{err: &task.Error{Kind: task.KindExhausted, Msg: "the queue is full", RetryAfter: 60 * time.Millisecond}}
	cluster.inject("Submit", full, full)
	start := time.Now()
	_, err := c.Submit(t.Context(), client.Request{Spec: upper, NoKey: true})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(start), 120*time.Millisecond)
	require.Len(t, cluster.called("Submit"), 3)
	require.Len(t, cluster.jobs, 1)
}

func TestLostAnswerWithoutAKeyIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		cluster, c := setup(t, 3)
		cluster.inject("Submit", fault{cut: true, after: after})
		_, err := c.Submit(t.Context(), client.Request{Spec: upper, NoKey: true})
		require.ErrorIs(t, err, task.ErrUnknownOutcome)
		require.ErrorContains(t, err, "not known whether it took effect")
		require.Len(t, cluster.called("Submit"), 1)
	}
}

func TestUnknownOutcomeStaysUnknownWhenTimeRunsOut(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	// The first attempt may have taken effect. That the later ones did not changes nothing about that.
	cluster.inject("Submit", fault{cut: true, after: true})
	down := fault{err: task.Errorf(task.KindUnavailable, "no leader")}
	for range 100 {
		cluster.inject("Submit", down)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		_ = cluster.await(t.Context(), func() bool { return len(cluster.faults["Submit"]) < 95 })
	}()
	_, err := c.Submit(ctx, client.Request{Spec: upper})
	require.ErrorIs(t, err, task.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "no leader")
}

func TestFaultBehindALostAnswerLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	cluster.inject("Submit", fault{cut: true, after: true}, fault{err: task.Errorf(task.KindInternal, "a broken invariant")})
	_, err := c.Submit(t.Context(), client.Request{Spec: upper})
	require.ErrorIs(t, err, task.ErrUnknownOutcome)
	require.ErrorContains(t, err, "a broken invariant")
}

func TestDenialBehindALostAnswerLeavesTheOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for _, kind := range []task.Kind{task.KindUnauthenticated, task.KindDenied} {
		cluster, c := setup(t, 3)
		cluster.inject("Submit", fault{cut: true, after: true}, fault{err: task.Errorf(kind, "the token was revoked meanwhile")})
		_, err := c.Submit(t.Context(), client.Request{Spec: upper})
		require.ErrorIs(t, err, task.ErrUnknownOutcome)
		require.ErrorContains(t, err, "was revoked meanwhile")
		cluster.inject("Submit", fault{err: task.Errorf(kind, "no right")})
		_, err = c.Submit(t.Context(), client.Request{Spec: upper})
		require.Equal(t, kind, task.KindOf(err), "without an earlier attempt it is known")
	}
}

func TestDefiniteFailureIsReportedAsSuchWhenTimeRunsOut(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	for _, s := range cluster.servers {
		s.kill()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Submit(ctx, client.Request{Spec: upper})
	require.ErrorIs(t, err, task.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = c.Status(ctx)
	require.ErrorIs(t, err, task.ErrUnavailable)
	require.ErrorContains(t, err, "not tried")
}

func TestFaultOfTheServersIsNotRetriedForEver(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	for range 20 {
		cluster.inject("GetJob", fault{err: errors.New("index out of range")})
	}
	_, err := c.Job(1).Info(t.Context())
	require.ErrorContains(t, err, "index out of range")
	require.Len(t, cluster.called("GetJob"), 5)
}

func TestErrorsThatNoRetryHealsComeBackAtOnce(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 3)
	_, err := c.Job(77).Info(t.Context())
	require.ErrorIs(t, err, task.ErrNotFound)
	require.ErrorContains(t, err, "get job 77")
	require.Len(t, cluster.called("GetJob"), 1)
}

func TestCloseEndsCallsUnderWay(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(3)
	t.Cleanup(stop)
	cluster.manual = true
	c, err := client.New(cluster.config())
	require.NoError(t, err)
	job, err := c.Submit(t.Context(), client.Request{Spec: upper})
	require.NoError(t, err)
	waited, streamed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := job.Wait(t.Context())
		waited <- err
	}()
	go func() {
		for _, err := range job.AsCompleted(t.Context()) {
			streamed <- err
		}
	}()
	require.Eventually(t, func() bool {
		return len(cluster.called("WaitJob")) > 0 && len(cluster.called("StreamResults")) > 0
	}, time.Minute, time.Millisecond)
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-waited, client.ErrClosed)
	require.ErrorIs(t, <-streamed, client.ErrClosed)
	_, err = c.Status(t.Context())
	require.ErrorIs(t, err, client.ErrClosed)
	require.NoError(t, c.Close())
}

func TestCloseUnderACallWithoutAKeyLeavesItsOutcomeUnknown(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 1)
	cluster.inject("Submit", fault{hang: true, after: true})
	done := make(chan error, 1)
	go func() {
		_, err := c.Submit(t.Context(), client.Request{Spec: upper, NoKey: true})
		done <- err
	}()
	require.NoError(t, cluster.await(t.Context(), func() bool { return len(cluster.jobs) == 1 }))
	require.NoError(t, c.Close())
	err := <-done
	require.ErrorIs(t, err, task.ErrUnknownOutcome)
	require.ErrorIs(t, err, client.ErrClosed)
	require.NotErrorIs(t, err, context.Canceled)
}

func TestWatchMovesAwayFromALeader(t *testing.T) {
	t.Parallel()
	cluster, c := setup(t, 2)
	knowsLeader(t, c, "s0:7420")
	// Whichever server leads, the client hears of the next leader from the other one.
	for _, leader := range []int{1, 0, 1, 0} {
		cluster.elect(leader)
		knowsLeader(t, c, cluster.servers[leader].addr)
	}
}

func TestServersThatAcceptAndSayNothingAreLeft(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(2)
	t.Cleanup(stop)
	// The first server takes connections and never answers on them.
	silent := make(chan net.Conn, 100)
	cfg := cluster.config()
	cfg.DialOptions = []grpc.DialOption{wire.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != "s0:7420" {
			return cluster.dial(ctx, addr)
		}
		ours, theirs := net.Pipe()
		silent <- theirs
		return ours, nil
	})}
	defer func() {
		close(silent)
		for conn := range silent {
			conn.Close()
		}
	}()
	c, err := client.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	cluster.elect(1)
	_, err = c.Submit(t.Context(), client.Request{Spec: upper, NoKey: true})
	require.NoError(t, err)
}

func TestClusterAndWorkersAreDescribed(t *testing.T) {
	t.Parallel()
	_, c := setup(t, 3)
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "n0", status.Leader)
	require.Len(t, status.Servers, 3)
	require.Equal(t, client.ServerInfo{ID: "n0", Addr: "s0:7420", State: "leader", Voter: true}, status.Servers[0])

	verdict, err := c.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, client.VerifyInfo{Index: 9, OK: true, Servers: []client.DigestInfo{{ID: "n0", Index: 9, Digest: 0xabc}}}, verdict)

	workers, err := c.Workers(t.Context(), client.WorkersOptions{Worker: "builder"})
	require.NoError(t, err)
	require.Equal(t, []client.WorkerInfo{{
		ID: "w1", Name: "builder", Slots: 4, Labels: map[string]string{"zone": "a"}, LastBeat: time.Second,
		Tasks: []client.RunningTask{{ID: task.ID{Job: 42, Index: 7}, RunTime: time.Minute}},
	}}, workers)
}

// A client that knows one server only learns of the others, and survives the loss of that one.
func TestServersThatAreToldOfAreTurnedTo(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(3)
	t.Cleanup(stop)
	cfg := cluster.config()
	cfg.Addrs = cfg.Addrs[:1]
	c, err := client.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	knowsLeader(t, c, "s0:7420")
	cluster.servers[0].kill()
	cluster.elect(2)
	_, err = c.Submit(t.Context(), client.Request{Spec: upper, Key: "k"})
	require.NoError(t, err)
}

// A client that was told of a term that never existed finds the real leader again.
func TestATermThatThereNeverWasIsForgotten(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(3)
	t.Cleanup(stop)
	lie := &rotav1.WatchLeaderResponse{Term: 50, LeaderAddr: "s2:7420", Servers: []string{"s2:7420", "nobody:1", "nobody:2"}}
	cluster.lies = map[int]*rotav1.WatchLeaderResponse{0: lie, 1: lie, 2: lie}
	c := newClient(t, cluster)
	knowsLeader(t, c, "s2:7420")
	cluster.locked(func() { cluster.lies = nil })
	for _, s := range cluster.servers {
		s.cut()
	}
	knowsLeader(t, c, "s0:7420")
	require.Eventually(t, func() bool { return c.ServerCount() == 3 }, time.Minute, time.Millisecond, "the client forgets servers that were named by mistake")
	_, err := c.Submit(t.Context(), client.Request{Spec: upper, Key: "k"})
	require.NoError(t, err)
	require.Equal(t, []string{"s0"}, cluster.called("Submit"))
}

// If too few servers answer when the client asks for their terms, it asks again later.
func TestTermsThatNobodyCouldTellAreAskedForAgain(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(3)
	t.Cleanup(stop)
	lie := &rotav1.WatchLeaderResponse{Term: 50, LeaderAddr: "s2:7420", Servers: cluster.config().Addrs}
	cluster.lies = map[int]*rotav1.WatchLeaderResponse{0: lie, 1: lie, 2: lie}
	c := newClient(t, cluster)
	knowsLeader(t, c, "s2:7420")
	cluster.locked(func() { cluster.lies = nil })
	// The first call is the watch; the next ones ask for the terms.
	silent := fault{err: task.Errorf(task.KindUnavailable, "too busy")}
	cluster.inject("WatchLeader", fault{}, silent, silent, silent)
	watched := cluster.called("WatchLeader")
	for _, s := range cluster.servers {
		if fmt.Sprintf("s%d", s.n) == watched[len(watched)-1] {
			s.cut()
		}
	}
	knowsLeader(t, c, "s0:7420")
}

func TestOneServerAloneDoesNotMakeAnAbsurdTerm(t *testing.T) {
	t.Parallel()
	cluster, stop := newCluster(3)
	t.Cleanup(stop)
	lie := &rotav1.WatchLeaderResponse{Term: 1 << 60, LeaderAddr: "s2:7420", Servers: cluster.config().Addrs}
	cluster.lies = map[int]*rotav1.WatchLeaderResponse{2: lie}
	cluster.servers[1].kill() // of the other servers, the client watches the one that lies
	c := newClient(t, cluster)
	require.Eventually(t, func() bool {
		called := cluster.called("WatchLeader")
		return slices.Contains(called, "s2") && slices.Contains(called, "s0")
	}, time.Minute, time.Millisecond, "the others are asked for their terms")
	for i := range 20 {
		_, err := c.Submit(t.Context(), client.Request{Spec: upper, Key: fmt.Sprint(i)})
		require.NoError(t, err)
		require.NotEqual(t, "s2:7420", c.LeaderAddr())
	}
}
