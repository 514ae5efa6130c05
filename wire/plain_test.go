package wire_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

func TestPlainTextStaysOnThisMachine(t *testing.T) {
	t.Parallel()
	for addr, fits := range map[string]bool{
		"127.0.0.1:7420": true, "127.8.9.10:7420": true, "[::1]:7420": true, "localhost:7420": true, "rota.example:7420": true,
		"10.0.0.1:7420": false, "0.0.0.0:7420": false, "[2001:db8::1]:7420": false, "192.0.2.1:1": false, "no port": false,
	} {
		err := wire.CheckPlain(addr)
		require.Equal(t, fits, err == nil, addr)
		if !fits {
			require.ErrorIs(t, err, task.ErrInvalid, addr)
		}
	}
	// Whoever names such a server, as another server may: nobody connects to it.
	conn, err := wire.Dial("192.0.2.1:7420")
	require.NoError(t, err)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = rotav1.NewClusterServiceClient(conn).Status(ctx, &rotav1.StatusRequest{})
	require.ErrorIs(t, wire.FromStatus(err), task.ErrUnavailable)
	require.ErrorContains(t, err, "192.0.2.1:7420 is beyond this machine, and connections in plain text stay")
}
