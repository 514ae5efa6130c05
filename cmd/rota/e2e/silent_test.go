package e2e

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// A server ends with exit code 0 although peers are connected that neither send nor read: on each of its ports, from the
// start, in the middle of a request, and on the streams of a client and of a worker.
func TestAServerEndsThoughItsPeersAreSilent(t *testing.T) {
	t.Parallel()
	c := start(t, localcluster.Config{Servers: 1})
	p := c.Servers[0]
	ctx := t.Context()
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for addr, begins := range map[string][]string{
		p.Addr:     {"", preface[:10], preface, preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x40\x00\x00\x00\x00\x00\x00\x01"},
		p.PeerAddr: {"", "ROT2", "ROT2\x00\x02n1"},
		p.HTTPAddr: {"", "GET /metrics HTTP/1.1\r\nHost: a\r\n"},
	} {
		for _, begin := range begins {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			_, err = conn.Write([]byte(begin))
			require.NoError(t, err)
		}
	}
	conn, err := wire.Dial(p.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	worker, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(t, err)
	hello := &rotav1.Hello{WorkerId: "silent", BootNonce: []byte("n"), Slots: 4, Handlers: []string{"silent"}}
	require.NoError(t, worker.Send(&rotav1.SessionRequest{Message: &rotav1.SessionRequest_Hello{Hello: hello}}))
	_, err = worker.Recv()
	require.NoError(t, err)
	unspoken, err := rotav1.NewWorkerServiceClient(conn).Session(ctx) // says nothing at all
	require.NoError(t, err)
	_, err = rotav1.NewClusterServiceClient(conn).WatchLeader(ctx, &rotav1.WatchLeaderRequest{})
	require.NoError(t, err)
	// More than the buffers on the way to a peer that does not read.
	payload := make([]byte, task.MaxPayload)
	for range 20 {
		_, err = c.client().Submit(ctx, client.Request{Spec: task.Spec{Handler: "silent", MaxParallel: 1}, Payloads: client.Payloads(payload)})
		require.NoError(t, err)
	}
	require.NoError(t, p.Stop(ctx))
	_, err = unspoken.Recv()
	require.Error(t, err)
}
