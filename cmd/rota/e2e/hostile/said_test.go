package hostile

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
)

// attachOn is tryAttach over a connection that several sessions share.
func (h *harness) attachOn(conn *grpc.ClientConn, hello *rotav1.Hello) *line {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	h.t.Cleanup(cancel)
	stream, err := rotav1.NewWorkerServiceClient(conn).Session(ctx)
	require.NoError(h.t, err)
	l := &line{WorkerService_SessionClient: stream, h: h, end: cancel}
	require.NoError(h.t, l.say(hello))
	first, err := stream.Recv()
	require.NoError(h.t, err)
	l.welcome = first.GetWelcome()
	return l
}

// Each worker says in 4 MiB why it is unhealthy. A leader once kept all of that, though it shows only
// 256 bytes.
func TestWhyWorkersAreUnhealthyTakesLittle(t *testing.T) {
	t.Parallel()
	h := start(t)
	const sessions = 300
	state := &rotav1.WorkerState{Unhealthy: strings.Repeat("u", task.MaxRequest-100)}
	conn := h.Dial(h.Leader())
	for range sessions {
		l := h.attachOn(conn, helloOf())
		require.NoError(t, l.say(&rotav1.Beat{Seq: 1, State: state}))
		_, err := l.Recv()
		require.NoError(t, err)
	}
	h.Served(20)
}
