package hostile

import (
	"context"
	"math"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/cmd/rota/e2e/program"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/peerpb"
)

// nextVersion is what the next build knows, see package program.
const nextVersion = task.Version + 1

// odds is how many odd answers the leader gets, and how many jobs polite clients have meanwhile.
const odds = 5

// oddVoter answers for a voter that has ended, in a way of its own.
type oddVoter struct {
	peerpb.UnimplementedPeerServiceServer
	is     *peerpb.IdentifyResponse
	answer func(ctx context.Context, is *peerpb.IdentifyResponse, asked int64)
	asked  atomic.Int64
}

func (o *oddVoter) Identify(ctx context.Context, _ *peerpb.IdentifyRequest) (*peerpb.IdentifyResponse, error) {
	is := proto.CloneOf(o.is)
	o.answer(ctx, is, o.asked.Add(1))
	return is, nil
}

// serveAt serves at the address that the voter had.
func (o *oddVoter) serveAt(t *testing.T, addr string) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	g := grpc.NewServer(grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		return status.Error(codes.Unavailable, "clients have to ask another server")
	}))
	peerpb.RegisterPeerServiceServer(g, o)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(l)
	}()
	return func() {
		g.Stop()
		<-served
	}
}

// A voter lies about the versions that it knows. The active version does not rise above what the others know, and
// nobody waits for the voter.
func TestServersSurviveAVoterThatLiesAboutItsVersion(t *testing.T) {
	t.Parallel()
	next, err := program.BuildNext(t.TempDir())
	require.NoError(t, err)
	h := start(t)
	for i := range 2 {
		h.cluster.Servers[i].SetBinary(next)
		h.Restart(i)
	}
	h.Served(5)
	h.Await("the version that all builds know", func() bool { return h.status().ActiveVersion == task.Version })
	odd := 2
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	is, err := peerpb.NewPeerServiceClient(h.Dial(odd)).Identify(ctx, &peerpb.IdentifyRequest{})
	require.NoError(t, err)
	require.EqualValues(t, task.Version, is.GetKnows())
	h.Await("the newest version that all of them know", func() bool { return h.status().ActiveVersion == task.Version })
	require.NoError(t, h.cluster.Servers[odd].Stop(ctx))
	for name, answer := range map[string]func(ctx context.Context, is *peerpb.IdentifyResponse, asked int64){
		"no answer":   func(ctx context.Context, _ *peerpb.IdentifyResponse, _ int64) { <-ctx.Done() },
		"none it has": func(_ context.Context, is *peerpb.IdentifyResponse, _ int64) { is.Knows = 0 },
		"fewer each time": func(_ context.Context, is *peerpb.IdentifyResponse, asked int64) {
			is.Knows = uint32(max(0, task.Version-asked))
		},
		"now one, now another": func(_ context.Context, is *peerpb.IdentifyResponse, asked int64) {
			is.Knows = uint32(asked%2) * task.Version
		},
		"another server": func(_ context.Context, is *peerpb.IdentifyResponse, _ int64) {
			is.ServerId, is.Knows = "another", math.MaxUint32
		},
	} {
		o := &oddVoter{is: is, answer: answer}
		stop := o.serveAt(t, h.Addrs[odd])
		served := h.polite.jobs.Load()
		h.Await(name+": it is asked, and clients are served", func() bool {
			return o.asked.Load() > odds && h.polite.jobs.Load() > served+odds || h.polite.failed() != nil
		})
		require.NoError(t, h.polite.failed(), name)
		if name == "no answer" {
			f := newFakeLeader(t, "joins")
			h.Await("a server is taken in meanwhile", func() bool { return f.join(h) == nil })
		}
		require.EqualValues(t, task.Version, h.status().ActiveVersion, name)
		stop()
	}
	o := &oddVoter{is: is, answer: func(_ context.Context, is *peerpb.IdentifyResponse, _ int64) { is.Knows = math.MaxUint32 }}
	stop := o.serveAt(t, h.Addrs[odd])
	h.Await("the rise", func() bool { return h.status().ActiveVersion != task.Version })
	require.EqualValues(t, nextVersion, h.status().ActiveVersion)
	stop()
	h.cluster.Servers[odd].SetBinary(next)
	h.run(odd)
	require.NoError(t, h.cluster.Servers[odd].WaitReady(ctx))
	h.Served(20)
}
