package server

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/internal/ports"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// guardedTrio is three servers with TLS, which ask everybody who they are.
type guardedTrio struct {
	t       *testing.T
	ca      *pki.CA
	addrs   []string
	servers []*Server
}

func newGuardedTrio(t *testing.T) *guardedTrio {
	t.Helper()
	ca, err := pki.NewCA("rota.test", pki.CAValidity, time.Now())
	require.NoError(t, err)
	g := &guardedTrio{t: t, ca: ca}
	var first []int
	for range 3 {
		port, err := ports.Take(3)
		require.NoError(t, err)
		t.Cleanup(func() { ports.Release(port) })
		first, g.addrs = append(first, port), append(g.addrs, ports.Loopback(port))
	}
	dir := t.TempDir()
	for i, name := range []string{"n1", "n2", "n3"} {
		s, err := Start(Config{TLS: certificate(t, ca, task.RoleServer), Node: node.Config{
			NodeID: name, DataDir: filepath.Join(dir, name), BootstrapExpect: 3, Join: g.addrs,
			Addr: g.addrs[i], PeerAddr: ports.Loopback(first[i] + 1), HTTPAddr: ports.Loopback(first[i] + 2),
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Version: "test",
			Fatal: func(err error) { t.Errorf("server %s must stop: %v", name, err) },
		}})
		require.NoError(t, err)
		t.Cleanup(func() { ended(t, s.Kill) })
		g.servers = append(g.servers, s)
	}
	return g
}

// dial connects to a server.
func (g *guardedTrio) dial(i int, tls *secure.Config, token *wire.Token) *grpc.ClientConn {
	g.t.Helper()
	opts := wire.Secure(tls)
	if token != nil {
		opts = append(opts, token.Option())
	}
	conn, err := wire.Dial(g.addrs[i], opts...)
	require.NoError(g.t, err)
	g.t.Cleanup(func() { require.NoError(g.t, conn.Close()) })
	return conn
}

// eventually waits for a call to succeed.
func (g *guardedTrio) eventually(call func(ctx context.Context) error) {
	g.t.Helper()
	var last error
	require.Eventually(g.t, func() bool {
		ctx, cancel := context.WithTimeout(g.t.Context(), wait)
		defer cancel()
		last = call(ctx)
		return last == nil
	}, wait, 10*time.Millisecond, "%v", &last)
}

// token makes an access token at a server, and returns it with its id.
func (g *guardedTrio) token(admin *grpc.ClientConn, role task.Role, queues ...string) (*wire.Token, string) {
	g.t.Helper()
	secret := wire.NewSecret()
	g.eventually(func(ctx context.Context) error {
		_, err := rotav1.NewAccessServiceClient(admin).CreateToken(ctx, &rotav1.CreateTokenRequest{Hash: secret.Hash(), Name: "t", Role: string(role), Queues: queues})
		return err
	})
	return wire.FixedToken(secret), secret.ID()
}

func handlerSpec(queue string) *rotav1.JobSpec {
	return &rotav1.JobSpec{Queue: queue, Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "none"}}}
}

// A call that a follower forwards has the rights of whoever made it: not those of the server.
func TestAForwardedCallIsTheCallers(t *testing.T) {
	t.Parallel()
	g := newGuardedTrio(t)
	admin := g.dial(0, certificate(t, g.ca, task.RoleAdmin), nil)
	anonymous := noCertificate(t, g.ca)
	limited, _ := g.token(admin, task.RoleSubmit, "team-a-*")
	reader := certificate(t, g.ca, task.RoleRead)
	// One of the three leads: the others forward.
	for i := range g.servers {
		jobs := rotav1.NewJobServiceClient(g.dial(i, anonymous, limited))
		var job uint64
		g.eventually(func(ctx context.Context) error {
			r, err := jobs.Submit(ctx, &rotav1.SubmitRequest{Spec: handlerSpec("team-a-1"), Tasks: &rotav1.TaskSet{Count: 1}})
			job = r.GetJobId()
			return err
		})
		_, err := jobs.Submit(t.Context(), &rotav1.SubmitRequest{Spec: handlerSpec("team-b"), Tasks: &rotav1.TaskSet{Count: 1}})
		require.ErrorIs(t, wire.FromStatus(err), task.ErrDenied)
		require.ErrorContains(t, err, "team-b")
		reads := rotav1.NewJobServiceClient(g.dial(i, reader, nil))
		got, err := reads.GetJob(t.Context(), &rotav1.GetJobRequest{JobId: job})
		require.NoError(t, err)
		require.Equal(t, "team-a-1", got.GetJob().GetSpec().GetQueue())
		_, err = reads.CancelJob(t.Context(), &rotav1.CancelJobRequest{JobId: job})
		require.ErrorIs(t, wire.FromStatus(err), task.ErrDenied)
		_, err = jobs.CancelJob(t.Context(), &rotav1.CancelJobRequest{JobId: job})
		require.NoError(t, err)
	}
	// A list has what the caller may see.
	everything := rotav1.NewJobServiceClient(admin)
	_, err := everything.Submit(t.Context(), &rotav1.SubmitRequest{Spec: handlerSpec("team-b"), Tasks: &rotav1.TaskSet{Count: 1}})
	require.NoError(t, err)
	all, err := everything.ListJobs(t.Context(), &rotav1.ListJobsRequest{})
	require.NoError(t, err)
	require.Len(t, all.GetJobs(), 4)
	mine, err := rotav1.NewJobServiceClient(g.dial(0, anonymous, limited)).ListJobs(t.Context(), &rotav1.ListJobsRequest{PageSize: 3})
	require.NoError(t, err)
	require.Len(t, mine.GetJobs(), 3)
	for _, j := range mine.GetJobs() {
		require.Equal(t, "team-a-1", j.GetSpec().GetQueue())
	}
}

func TestARevokedTokenIsRefusedByEveryServer(t *testing.T) {
	t.Parallel()
	g := newGuardedTrio(t)
	admin := g.dial(0, certificate(t, g.ca, task.RoleAdmin), nil)
	token, id := g.token(admin, task.RoleSubmit)
	anonymous := noCertificate(t, g.ca)
	var streams []grpc.ServerStreamingClient[rotav1.WatchLeaderResponse]
	var who []rotav1.AccessServiceClient
	for i := range g.servers {
		conn := g.dial(i, anonymous, token)
		who = append(who, rotav1.NewAccessServiceClient(conn))
		// It is known at once everywhere, also to servers that are behind.
		r, err := who[i].WhoAmI(t.Context(), &rotav1.WhoAmIRequest{})
		require.NoError(t, err)
		require.Equal(t, id, r.GetTokenId())
		stream, err := rotav1.NewClusterServiceClient(conn).WatchLeader(t.Context(), &rotav1.WatchLeaderRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		streams = append(streams, stream)
	}
	_, err := rotav1.NewAccessServiceClient(admin).RevokeToken(t.Context(), &rotav1.RevokeTokenRequest{Id: id})
	require.NoError(t, err)
	revoked := time.Now()
	for i := range who {
		require.Eventually(t, func() bool {
			_, err := who[i].WhoAmI(t.Context(), &rotav1.WhoAmIRequest{})
			return task.KindOf(wire.FromStatus(err)) == task.KindUnauthenticated
		}, wait, time.Millisecond)
		t.Logf("server %d refused it after %v", i+1, time.Since(revoked))
		for err = nil; err == nil; {
			_, err = streams[i].Recv()
		}
		require.ErrorContains(t, err, "was revoked")
		// What a stream had taken may or may not have taken effect.
		require.ErrorIs(t, wire.FromStatus(err), task.ErrUnknownOutcome)
		t.Logf("its stream to server %d ended after %v", i+1, time.Since(revoked))
	}
}

// A stream of submits answers each item by its queue, and a worker gets work of its queues only.
func TestMessagesOfStreamsAreChecked(t *testing.T) {
	t.Parallel()
	f := newFort(t)
	submit, _ := f.token(task.RoleSubmit, []string{"team-a-*"}, 0)
	worker, _ := f.token(task.RoleWorker, []string{"team-a-*"}, 0)
	anonymous := noCertificate(t, f.ca)
	stream, err := rotav1.NewJobServiceClient(f.dial(&attacker{tls: anonymous, token: submit})).SubmitStream(t.Context())
	require.NoError(t, err)
	item := func(seq uint64, queue string) *rotav1.SubmitItem {
		return &rotav1.SubmitItem{Seq: seq, Request: &rotav1.SubmitRequest{Spec: handlerSpec(queue), Tasks: &rotav1.TaskSet{Count: 1}}}
	}
	appendTo := &rotav1.SubmitItem{Seq: 3, Append: &rotav1.AppendTasksRequest{JobId: f.jobs[otherQueue], Tasks: &rotav1.TaskSet{Count: 1}}}
	require.NoError(t, stream.Send(&rotav1.SubmitStreamRequest{Submits: []*rotav1.SubmitItem{item(1, ownQueue), item(2, otherQueue), appendTo, item(4, "")}}))
	kinds := map[uint64]string{}
	for len(kinds) < 4 {
		m, err := stream.Recv()
		require.NoError(t, err)
		for _, a := range m.GetAnswers() {
			kinds[a.GetSeq()] = a.GetError().GetKind()
		}
	}
	require.Equal(t, map[uint64]string{1: "", 2: "denied", 3: "denied", 4: "denied"}, kinds)

	for _, c := range []struct {
		queues []string
		want   task.Kind
	}{{nil, task.KindDenied}, {[]string{otherQueue}, task.KindDenied}, {[]string{ownQueue, otherQueue}, task.KindDenied}, {[]string{ownQueue}, ""}} {
		session, err := rotav1.NewWorkerServiceClient(f.dial(&attacker{tls: anonymous, token: worker})).Session(t.Context())
		require.NoError(t, err)
		hello := &rotav1.Hello{WorkerId: "w", BootNonce: []byte("n"), Slots: 1, Handlers: []string{"h"}, Queues: c.queues}
		require.NoError(t, session.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
		m, err := session.Recv()
		if c.want != "" {
			require.Equal(t, c.want, task.KindOf(wire.FromStatus(err)), "%v", c.queues)
			continue
		}
		require.NoError(t, err)
		require.NotNil(t, m.GetWelcome())
		require.NoError(t, session.CloseSend())
	}
}
