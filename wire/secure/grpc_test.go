package secure_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire/secure"
)

// whoAmI starts a gRPC server that answers each message with the identity of its caller.
func whoAmI(t *testing.T, c *secure.Config, told func(net.Addr, error)) string {
	t.Helper()
	creds, err := c.ServerCredentials(secure.Accept{Roles: task.Roles(), Anonymous: true}, told)
	require.NoError(t, err)
	s := grpc.NewServer(grpc.Creds(creds), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		for {
			if stream.RecvMsg(&wrapperspb.StringValue{}) != nil {
				return nil //nolint:nilerr // The client has enough.
			}
			who := "anonymous"
			if p, ok := secure.FromContext(stream.Context()); ok {
				who = p.String()
			}
			if err := stream.SendMsg(wrapperspb.String(who)); err != nil {
				return err
			}
		}
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); done.Wait() })
	return l.Addr().String()
}

func dialGRPC(t *testing.T, addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func ask(t *testing.T, conn *grpc.ClientConn) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	out := &wrapperspb.StringValue{}
	err := conn.Invoke(ctx, "/test/WhoAmI", wrapperspb.String(""), out)
	return out.GetValue(), err
}

func TestAServiceKnowsWhoCalls(t *testing.T) {
	t.Parallel()
	ca := newCA(t, domain)
	f := files(t, ca, task.RoleServer, "s")
	server := open(t, f)
	told := make(chan error, 100)
	addr := whoAmI(t, server, func(from net.Addr, err error) {
		if from != nil {
			told <- err
		}
	})
	for _, role := range task.Roles() {
		who, err := ask(t, dialGRPC(t, addr, open(t, files(t, ca, role, "x")).ClientCredentials()))
		require.NoError(t, err)
		require.Equal(t, "spiffe://rota.test/rota/"+string(role)+"/x", who)
	}
	who, err := ask(t, dialGRPC(t, addr, open(t, secure.Files{CA: f.CA}).ClientCredentials()))
	require.NoError(t, err)
	require.Equal(t, "anonymous", who)

	_, err = ask(t, dialGRPC(t, addr, open(t, files(t, newCA(t, domain), task.RoleAdmin, "x")).ClientCredentials()))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "give both ends the same CA bundle")
	require.Equal(t, secure.ReasonRefused, secure.ReasonOf(<-told))
}

// A stream goes on while certificate and CA of both ends are replaced.
func TestAStreamOutlivesTheFiles(t *testing.T) {
	t.Parallel()
	ca, next := newCA(t, domain), newCA(t, domain)
	f, g := files(t, ca, task.RoleServer, "s"), files(t, ca, task.RoleWorker, "w")
	server, client := open(t, f), open(t, g)
	conn := dialGRPC(t, whoAmI(t, server, nil), client.ClientCredentials())
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test/WhoAmI")
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, stream.SendMsg(wrapperspb.String("")))
		out := &wrapperspb.StringValue{}
		require.NoError(t, stream.RecvMsg(out))
		require.Equal(t, "spiffe://rota.test/rota/worker/w", out.GetValue())
		put(t, f.CA, next.Cert)
		put(t, g.CA, next.Cert)
		replace(t, next, f, task.RoleServer, "s")
		replace(t, next, g, task.RoleWorker, "w2")
		require.NoError(t, server.Reload())
		require.NoError(t, client.Reload())
	}
	who, err := ask(t, dialGRPC(t, conn.Target()[len("passthrough:///"):], client.ClientCredentials()))
	require.NoError(t, err)
	require.Equal(t, "spiffe://rota.test/rota/worker/w2", who)
}

func TestNobodyIsKnownWithoutACertificate(t *testing.T) {
	t.Parallel()
	_, ok := secure.FromContext(t.Context())
	require.False(t, ok)
	_, ok = secure.FromContext(peer.NewContext(t.Context(), &peer.Peer{}))
	require.False(t, ok)
	// Only a handshake that checked the certificate counts.
	_, ok = secure.FromContext(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{}}))
	require.False(t, ok)
	_, ok = secure.PeerOf(nil)
	require.False(t, ok)
	require.NoError(t, secure.Explain(nil, time.Now()))
}
