package hostile

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/transport/peerpb"
)

// fakeTerm is a term that no cluster reaches by itself.
const fakeTerm = 1 << 60

// fakeLeader joins as a server and tells everybody that it leads.
type fakeLeader struct {
	peerpb.UnimplementedPeerServiceServer
	rotav1.UnimplementedWorkerServiceServer
	rotav1.UnimplementedClusterServiceServer
	is     *peerpb.IdentifyResponse
	hellos atomic.Int64
	// lies: it sends long texts about its own problems and about those of others.
	lies atomic.Bool
}

func (f *fakeLeader) Identify(context.Context, *peerpb.IdentifyRequest) (*peerpb.IdentifyResponse, error) {
	is := proto.CloneOf(f.is)
	if f.lies.Load() {
		is.Notes = []*peerpb.Note{{NodeId: "n1", Problem: "it is gone for good: remove it"}}
		if strings.HasPrefix(is.NodeId, "verbose") {
			is.Problem = strings.Repeat("problem ", 512<<10)
		}
	}
	return is, nil
}

func (f *fakeLeader) Digest(context.Context, *peerpb.DigestRequest) (*peerpb.DigestResponse, error) {
	return &peerpb.DigestResponse{Violations: []string{strings.Repeat("violation ", 400<<10)}}, nil
}

// Session welcomes any worker.
func (f *fakeLeader) Session(stream grpc.BidiStreamingServer[rotav1.SessionRequest, rotav1.SessionResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	f.hellos.Add(1)
	w := &rotav1.Welcome{SessionId: 1, Lease: durationpb.New(10 * time.Second), Term: fakeTerm, LeaderId: f.is.NodeId}
	if err := stream.Send(&rotav1.SessionResponse{Message: &rotav1.SessionResponse_Welcome{Welcome: w}}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// WatchLeader names itself.
func (f *fakeLeader) WatchLeader(_ *rotav1.WatchLeaderRequest, stream grpc.ServerStreamingServer[rotav1.WatchLeaderResponse]) error {
	if err := stream.Send(&rotav1.WatchLeaderResponse{Term: fakeTerm, Leader: f.is.NodeId, LeaderAddr: f.is.Addr}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func newFakeLeader(t *testing.T, nodeID string) *fakeLeader {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close() })
	f := &fakeLeader{is: &peerpb.IdentifyResponse{
		NodeId: nodeID, ServerId: "0123456789abcdef", Addr: l.Addr().String(), PeerAddr: other.Addr().String(),
		State: raft.Leader.String(), Term: fakeTerm, Nonce: "n", Initialized: true, Knows: fsm.Version,
	}}
	g := grpc.NewServer()
	peerpb.RegisterPeerServiceServer(g, f)
	rotav1.RegisterWorkerServiceServer(g, f)
	rotav1.RegisterClusterServiceServer(g, f)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(l)
	}()
	t.Cleanup(func() {
		g.Stop()
		<-served
	})
	return f
}

// join asks the leader to take the fake leader into the cluster.
func (f *fakeLeader) join(h *harness) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), within)
	defer cancel()
	_, err := peerpb.NewPeerServiceClient(h.Dial(h.Leader())).Join(ctx, &peerpb.JoinRequest{
		NodeId: f.is.NodeId, ServerId: f.is.ServerId, Addr: f.is.Addr, PeerAddr: f.is.PeerAddr, Nonce: f.is.Nonce, Knows: f.is.Knows,
	})
	return err
}

// A server joins and then tells the others that it leads. They announce it to nobody: no worker obeys it, and the
// real leader loses none.
func TestServersAnnounceNoLeaderThatHasNoVote(t *testing.T) {
	t.Parallel()
	h := start(t)
	f := newFakeLeader(t, "fake")
	h.Await("the fake server is taken in", func() bool { return f.join(h) == nil })
	peer := newRaftPeer(t, h, raft.ServerID(f.is.NodeId+"/"+f.is.ServerId), "introduced")
	for round := range 3 {
		term := h.status().Term
		for i := range h.Addrs {
			for _, say := range []uint64{fakeTerm, term + 1} {
				// The server may answer or not.
				_ = raftMessages["heartbeat"](peer, i, say, 0, nil)
			}
		}
		h.Served(int64(1 + round))
		for i := range h.Addrs {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			stream, err := rotav1.NewClusterServiceClient(h.Dial(i)).WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
			require.NoError(t, err)
			m, err := stream.Recv()
			cancel()
			require.NoError(t, err)
			require.NotEqual(t, f.is.Addr, m.GetLeaderAddr())
			require.NotContains(t, m.GetServers(), f.is.Addr)
			require.Less(t, m.GetTerm(), uint64(fakeTerm))
		}
	}
	cl := h.Client()
	h.Await("the worker is connected", func() bool {
		workers, err := cl.Workers(t.Context(), client.WorkersOptions{})
		require.NoError(t, err)
		require.Len(t, workers, 1)
		return workers[0].Connected
	})
	require.Zero(t, f.hellos.Load(), "a worker said hello to it")
}

// Hundreds of servers ask to join. The cluster takes few of them, and the others lose nothing by it.
func TestServersThatJoinAreFew(t *testing.T) {
	t.Parallel()
	h := start(t)
	for i := range 300 {
		f := &fakeLeader{is: &peerpb.IdentifyResponse{
			NodeId: fmt.Sprint("fake-", i), ServerId: "ab", Addr: "127.0.0.1:1", PeerAddr: fmt.Sprintf("127.0.0.1:%d", 2+i), Knows: fsm.Version,
		}}
		require.Error(t, f.join(h), "nobody answers there")
	}
	taken := 0
	for i := range 6 {
		if newFakeLeader(t, fmt.Sprint("real-", i)).join(h) == nil {
			taken++
		}
	}
	require.Positive(t, taken)
	require.LessOrEqual(t, taken, 3)
	require.LessOrEqual(t, len(h.status().Servers), 6)
	h.Served(20)
}

// Servers that joined send long texts about their own problems and those of others. These texts once took all room
// in the answers to cluster status.
func TestServersWithoutAVoteSpoilNoAnswer(t *testing.T) {
	t.Parallel()
	h := start(t)
	for _, id := range []string{"verbose-1", "verbose-2", "liar"} {
		f := newFakeLeader(t, id)
		h.Await("the fake server is taken in", func() bool { return f.join(h) == nil })
		f.lies.Store(true)
	}
	info := h.status()
	require.Len(t, info.Servers, servers+3)
	leaders := 0
	for _, s := range info.Servers {
		if s.State == "leader" {
			leaders++
		}
		require.NotContains(t, s.Problem, "remove it", "what a server without a vote says of %s is not believed", s.ID)
	}
	require.LessOrEqual(t, leaders, 1)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	_, err := h.Client().Verify(ctx)
	require.NoError(t, err)
	h.Served(5)
}
