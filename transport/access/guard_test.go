package access

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
)

// fakeState is a server's copy of the state, and what the leader has besides.
type fakeState struct {
	mu      sync.Mutex
	tokens  map[string]*logpb.AccessToken
	queues  map[uint64]string
	arrives func() // what Fresh brings
	fresh   error
	asked   int
	now     int64
	changed chan struct{}
}

func (s *fakeState) AccessToken(hash []byte) (*logpb.AccessToken, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[string(hash)]
	return t, t != nil
}

func (s *fakeState) AccessChanged() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *fakeState) QueueOf(job uint64) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q, ok := s.queues[job]; ok {
		return q, nil
	}
	return "", task.Errorf(task.KindNotFound, "there is no job %d", job)
}

func (s *fakeState) Fresh(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.fresh == nil && s.arrives != nil {
		s.arrives()
	}
	return s.fresh
}

func (s *fakeState) Now() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// revoke forgets a token, and wakes who waits for that.
func (s *fakeState) revoke(secret wire.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, string(secret.Hash()))
	close(s.changed)
	s.changed = make(chan struct{})
}

const (
	// deadline is how long a condition may take to come true.
	deadline  = 30 * time.Second
	pollEvery = time.Millisecond
)

type testBundle struct {
	t     *testing.T
	g     *Guard
	state *fakeState
	log   bytes.Buffer
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	b := &testBundle{t: t, state: &fakeState{tokens: map[string]*logpb.AccessToken{}, queues: map[uint64]string{}, changed: make(chan struct{}), now: 100}}
	b.g = New(Config{State: b.state, Logger: slog.New(slog.NewTextHandler(&b.log, nil))})
	g := grpc.NewServer()
	rotav1.RegisterJobServiceServer(g, rotav1.UnimplementedJobServiceServer{})
	rotav1.RegisterClusterServiceServer(g, rotav1.UnimplementedClusterServiceServer{})
	peerpb.RegisterPeerServiceServer(g, peerpb.UnimplementedPeerServiceServer{})
	rules, err := RulesOf(g.GetServiceInfo())
	require.NoError(t, err)
	b.g.SetRules(rules)
	return b
}

// token makes a token that the state knows.
func (b *testBundle) token(edit func(*logpb.AccessToken)) wire.Secret {
	secret := wire.NewSecret()
	t := &logpb.AccessToken{Hash: secret.Hash(), Name: "ci", Role: string(task.RoleSubmit)}
	if edit != nil {
		edit(t)
	}
	b.state.tokens[string(t.Hash)] = t
	return secret
}

// call makes a call with some headers.
func (b *testBundle) call(method string, request any, headers ...string) error {
	ctx := metadata.NewIncomingContext(b.t.Context(), metadata.Pairs(headers...))
	_, err := b.g.Unary(ctx, request, &grpc.UnaryServerInfo{FullMethod: method}, func(ctx context.Context, _ any) (any, error) {
		require.NotNil(b.t, CallOf(ctx))
		return nil, nil
	})
	return wire.FromStatus(err)
}

func bearer(s wire.Secret) []string { return []string{wire.AuthorizationKey, "Bearer " + s.Reveal()} }

func TestATokenGivesTheRightsOfItsRole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := b.token(nil)
	require.NoError(t, b.call(rotav1.JobService_Submit_FullMethodName, &rotav1.SubmitRequest{}, bearer(token)...))
	err := b.call(rotav1.ClusterService_TransferLeader_FullMethodName, &rotav1.TransferLeaderRequest{}, bearer(token)...)
	require.ErrorIs(t, err, task.ErrDenied)
	require.EqualError(t, err, `the token ci (`+token.ID()+`) has the role submit, and ClusterService.TransferLeader needs the right "operate": ask an admin for a token that has it (rota token create --role operator --name NAME)`)
	err = b.call(rotav1.JobService_Submit_FullMethodName, &rotav1.SubmitRequest{})
	require.ErrorIs(t, err, task.ErrUnauthenticated)
	require.ErrorContains(t, err, `needs the right "submit"`)
	require.Equal(t, map[Counted]int64{{task.RightOperate, reasonRight}: 1, {task.RightSubmit, reasonNobody}: 1}, b.g.Denials())
	require.Contains(t, b.log.String(), "call=ClusterService.TransferLeader right=operate reason=right")
	require.NotContains(t, b.log.String(), token.Reveal())
}

func TestATokenForQueuesIsForTheseOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := bearer(b.token(func(t *logpb.AccessToken) { t.Queues = []string{"team-a-*", "default"} }))
	b.state.queues = map[uint64]string{1: "team-a-1", 2: "team-b"}
	submit := func(queue string) error {
		return b.call(rotav1.JobService_Submit_FullMethodName, &rotav1.SubmitRequest{Spec: &rotav1.JobSpec{Queue: queue}}, token...)
	}
	require.NoError(t, submit("team-a-1"))
	require.NoError(t, submit(""), "the default queue")
	require.ErrorIs(t, submit("team-b"), task.ErrDenied)
	cancelJob := func(job uint64) error {
		return b.call(rotav1.JobService_CancelJob_FullMethodName, &rotav1.CancelJobRequest{JobId: job}, token...)
	}
	require.NoError(t, cancelJob(1))
	require.ErrorIs(t, cancelJob(2), task.ErrDenied)
	require.Zero(t, b.state.asked, "the state had all that was needed")
	require.ErrorIs(t, cancelJob(3), task.ErrNotFound)
	b.state.arrives = func() { b.state.queues[4], b.state.queues[5] = "team-a-2", "team-b" }
	require.NoError(t, cancelJob(4), "this server was behind")
	require.ErrorIs(t, cancelJob(5), task.ErrDenied)
	list := func(queue string) error {
		return b.call(rotav1.JobService_ListJobs_FullMethodName, &rotav1.ListJobsRequest{Queue: queue}, token...)
	}
	require.NoError(t, list(""), "the handler leaves out what the caller may not see")
	require.NoError(t, list("team-a-9"))
	require.ErrorIs(t, list("team-b"), task.ErrDenied)
	require.NoError(t, b.call(rotav1.ClusterService_Status_FullMethodName, &rotav1.StatusRequest{}, token...))
	operator := bearer(b.token(func(t *logpb.AccessToken) { t.Role, t.Queues = string(task.RoleOperator), []string{"team-a-*"} }))
	require.ErrorIs(t, b.call(rotav1.ClusterService_Verify_FullMethodName, &rotav1.VerifyRequest{}, operator...), task.ErrDenied, "it is about all queues")
}

func TestATokenThatIsNotKnownHereMayBeNew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fresh := wire.NewSecret()
	b.state.arrives = func() {
		b.state.tokens[string(fresh.Hash())] = &logpb.AccessToken{Hash: fresh.Hash(), Role: string(task.RoleRead)}
	}
	require.NoError(t, b.call(rotav1.ClusterService_Status_FullMethodName, &rotav1.StatusRequest{}, bearer(fresh)...))
	err := b.call(rotav1.ClusterService_Status_FullMethodName, &rotav1.StatusRequest{}, bearer(wire.NewSecret())...)
	require.ErrorIs(t, err, task.ErrUnauthenticated)
	b.state.fresh = task.Errorf(task.KindUnknownOutcome, "no leader")
	err = b.call(rotav1.ClusterService_Status_FullMethodName, &rotav1.StatusRequest{}, bearer(wire.NewSecret())...)
	require.ErrorIs(t, err, task.ErrUnavailable, "another server may know it, and nothing has happened")
	require.NotErrorIs(t, err, task.ErrUnknownOutcome)
	require.Len(t, b.g.Denials(), 1, "that was no denial")
}

func TestCredentialsThatAreWrongAreNoCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t)
	expired := b.token(func(t *logpb.AccessToken) { t.ExpiresNs = 100 })
	good := b.token(nil)
	for name, c := range map[string]struct {
		headers []string
		want    task.Kind
	}{
		"expired":      {bearer(expired), task.KindUnauthenticated},
		"two tokens":   {append(bearer(good), bearer(good)...), task.KindUnauthenticated},
		"basic":        {[]string{wire.AuthorizationKey, "Basic YTpi"}, task.KindUnauthenticated},
		"no scheme":    {[]string{wire.AuthorizationKey, good.Reveal()}, task.KindUnauthenticated},
		"no token":     {[]string{wire.AuthorizationKey, "Bearer "}, task.KindUnauthenticated},
		"forged":       {[]string{wire.PrincipalKey, "\x0a\x05admin"}, task.KindDenied},
		"forged token": {append(bearer(good), wire.PrincipalKey, "\x0a\x05admin"), task.KindDenied},
		"forwarded":    {[]string{wire.ForwardedKey, "1"}, task.KindUnauthenticated},
	} {
		err := b.call(rotav1.ClusterService_Status_FullMethodName, &rotav1.StatusRequest{}, c.headers...)
		require.Equal(t, c.want, task.KindOf(err), "%s: %v", name, err)
		require.NotContains(t, err.Error(), good.Reveal())
	}
	err := b.call(peerpb.PeerService_ReadIndex_FullMethodName, &peerpb.ReadIndexRequest{}, bearer(b.token(func(t *logpb.AccessToken) { t.Role = string(task.RoleAdmin) }))...)
	require.ErrorIs(t, err, task.ErrDenied, "servers only")
	require.ErrorIs(t, b.call("/rota.v1.JobService/Later", &rotav1.StatusRequest{}, bearer(good)...), task.ErrDenied, "a call without a rule")
}

// stream is one that gives its handler a message after the other.
type stream struct {
	grpc.ServerStream
	ctx      context.Context
	messages []proto.Message
}

func (s *stream) Context() context.Context { return s.ctx }

func (s *stream) RecvMsg(m any) error {
	proto.Merge(m.(proto.Message), s.messages[0])
	s.messages = s.messages[1:]
	return nil
}

func TestARevokedTokenEndsItsStreams(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token, other := b.token(nil), b.token(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.g.Run(ctx) }()
	defer func() { cancel(); <-done }()
	open := func(secret wire.Secret) (<-chan error, context.Context) {
		opened, ended := make(chan context.Context), make(chan error, 1)
		go func() {
			s := &stream{ctx: metadata.NewIncomingContext(ctx, metadata.Pairs(bearer(secret)...))}
			ended <- b.g.Stream(nil, s, &grpc.StreamServerInfo{FullMethod: rotav1.ClusterService_WatchLeader_FullMethodName}, func(_ any, s grpc.ServerStream) error {
				opened <- s.Context()
				<-s.Context().Done()
				return s.Context().Err()
			})
		}()
		return ended, <-opened
	}
	ended, _ := open(token)
	_, stays := open(other)
	b.state.revoke(token)
	err := <-ended
	require.ErrorContains(t, err, "was revoked")
	require.ErrorIs(t, wire.FromStatus(err), task.ErrUnknownOutcome)
	require.NoError(t, stays.Err())
	require.Eventually(t, func() bool {
		b.g.streams.mu.Lock()
		defer b.g.streams.mu.Unlock()
		return len(b.g.streams.open) == 1
	}, deadline, pollEvery)
}

func TestTheRequestOfAStreamIsChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.state.queues = map[uint64]string{1: "a", 2: "b"}
	token := b.token(func(t *logpb.AccessToken) { t.Queues = []string{"a"} })
	for job, want := range map[uint64]task.Kind{1: "", 2: task.KindDenied} {
		s := &stream{ctx: metadata.NewIncomingContext(t.Context(), metadata.Pairs(bearer(token)...)), messages: []proto.Message{&rotav1.StreamResultsRequest{JobId: job}}}
		err := b.g.Stream(nil, s, &grpc.StreamServerInfo{FullMethod: rotav1.JobService_StreamResults_FullMethodName}, func(_ any, s grpc.ServerStream) error {
			return s.RecvMsg(&rotav1.StreamResultsRequest{})
		})
		require.Equal(t, want, task.KindOf(wire.FromStatus(err)))
	}
}

func TestHTTPAsksForTheRight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	read, limited := b.token(func(t *logpb.AccessToken) { t.Role = string(task.RoleRead) }), b.token(func(t *logpb.AccessToken) { t.Queues = []string{"a"} })
	for _, c := range []struct {
		right task.Right
		auth  string
		want  int
	}{
		{task.RightAnybody, "", http.StatusNoContent},
		{task.RightRead, "", http.StatusUnauthorized},
		{task.RightRead, "Bearer " + read.Reveal(), http.StatusNoContent},
		{task.RightRead, "Bearer " + limited.Reveal(), http.StatusForbidden},
		{task.RightAdmin, "Bearer " + read.Reveal(), http.StatusForbidden},
		{task.RightRead, "Bearer " + wire.NewSecret().Reveal(), http.StatusUnauthorized},
		{task.RightRead, "Basic x", http.StatusUnauthorized},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		if c.auth != "" {
			r.Header.Set("Authorization", c.auth)
		}
		w := httptest.NewRecorder()
		b.g.HTTP(c.right, served).ServeHTTP(w, r)
		require.Equal(t, c.want, w.Code, "%s %s", c.right, c.auth)
	}
	var open *Guard
	w := httptest.NewRecorder()
	open.HTTP(task.RightAdmin, served).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	require.Equal(t, http.StatusNoContent, w.Code, "nobody is asked")
}
