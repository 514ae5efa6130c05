package wire

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"github.com/rota-scheduler/rota/task"
)

func TestAServerKnowsTheAddressesOfItsCluster(t *testing.T) {
	t.Parallel()
	own := func() []string { return []string{"127.0.0.1:1", "127.0.0.1:2"} }
	for _, test := range []struct {
		name  string
		given []string
		known func() []string
		ok    bool
	}{
		{"all", []string{"127.0.0.1:2", "127.0.0.1:1"}, own, true},
		{"by another name", []string{"localhost:2", "127.0.0.1:1"}, own, true},
		{"one is not its", []string{"127.0.0.1:2", "127.0.0.1:3"}, own, false},
		{"no cluster yet", []string{"127.0.0.1:2", "127.0.0.1:3"}, func() []string { return nil }, true},
		{"one address, which is asked as it is", []string{"127.0.0.1:3"}, own, true},
		{"more than fits", []string{"127.0.0.1:3", strings.Repeat("h", maxAddrs) + ":1"}, own, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			md, _ := metadata.FromOutgoingContext(WithAddrs(t.Context(), test.given))
			err := CheckAddrs(metadata.NewIncomingContext(context.Background(), md), test.known)
			if test.ok {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, FromStatus(err), task.ErrOtherCluster)
			}
		})
	}
}

// Calls that carry no addresses, as those of servers and of clients that were answered before, cost nothing.
func TestCallsThatNameNoAddressesTakeNoMemoryToCheck(t *testing.T) {
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("user-agent", "grpc-go", "content-type", "application/grpc"))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if err := CheckAddrs(ctx, func() []string { panic("not asked for") }); err != nil {
			panic(err)
		}
	}))
}
