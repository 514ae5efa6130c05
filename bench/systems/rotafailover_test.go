package systems

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/bench/harness"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/jepsen-tests/network"
)

func TestAClusterIsWholeWhenEveryServerFollowsAndEveryWorkerIsAttached(t *testing.T) {
	t.Parallel()
	bundle := func() (client.ClusterInfo, []client.WorkerInfo) {
		return client.ClusterInfo{Leader: "n1", AppliedIndex: 7, Servers: []client.ServerInfo{
			{ID: "n1", State: "leader", AppliedIndex: 7}, {ID: "n2", State: "follower", AppliedIndex: 8}, {ID: "n3", State: "follower", AppliedIndex: 7},
		}}, []client.WorkerInfo{{Connected: true}, {Connected: true}}
	}
	info, workers := bundle()
	require.NoError(t, whole(info, workers, 3))

	info.Servers[2].AppliedIndex = 6
	require.ErrorContains(t, whole(info, workers, 3), "n3 is follower at 6 of 7")
	info, workers = bundle()
	info.Servers[1].State = "unreachable"
	require.ErrorContains(t, whole(info, workers, 3), "n2 is unreachable")
	info, workers = bundle()
	info.Leader = ""
	require.ErrorContains(t, whole(info, workers, 3), "the leader is")
	info, workers = bundle()
	require.ErrorContains(t, whole(info, workers, 5), "3 of 5 servers")
	workers[1].Connected = false
	require.ErrorContains(t, whole(info, workers, 3), "1 of 2 workers")
}

func TestALostServerReachesNobodyAndNobodyReachesIt(t *testing.T) {
	t.Parallel()
	if err := network.Available(); err != nil {
		t.Skip("no hosts of their own here:", err)
	}
	h, err := newHosts(&Rota{Binary: "none is started", Servers: 3}, t.TempDir(), &harness.Load{Slots: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) })
	for _, s := range h.Servers {
		require.NoError(t, s.Host.Do(func() error {
			l, err := net.Listen("tcp4", s.Addr)
			if err == nil {
				t.Cleanup(func() { require.NoError(t, l.Close()) })
			}
			return err
		}))
	}
	reaches := func(from *network.Host, to string, within time.Duration) bool {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		c, err := from.Dial(ctx, to)
		if err != nil {
			return false
		}
		require.NoError(t, c.Close())
		return true
	}
	const long, short = 10 * time.Second, 200 * time.Millisecond
	caller := h.Clients[0]
	require.True(t, reaches(caller, h.Servers[0].Addr, long))
	require.NoError(t, h.Lose("n1", harness.Network))
	require.False(t, reaches(caller, h.Servers[0].Addr, short))
	require.False(t, reaches(h.Servers[0].Host, h.Servers[1].Addr, short))
	require.False(t, reaches(h.Servers[1].Host, h.Servers[0].Addr, short))
	require.True(t, reaches(h.Servers[1].Host, h.Servers[2].Addr, long))
	require.True(t, reaches(caller, h.Servers[1].Addr, long))
	require.Positive(t, h.Switch.Heal())
	require.True(t, reaches(caller, h.Servers[0].Addr, long))

	require.ErrorContains(t, h.Lose("n9", harness.Network), "n9")
	require.ErrorContains(t, h.Lose("n1", harness.Kill), "kill")
}

func TestALossThatLosesNothingIsNone(t *testing.T) {
	t.Parallel()
	if err := network.Available(); err != nil {
		t.Skip("no hosts of their own here:", err)
	}
	h, err := newHosts(&Rota{Binary: "none is started", Servers: 1}, t.TempDir(), &harness.Load{Slots: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Stop(context.Background())) })
	require.NoError(t, h.Lose("n1", harness.Network))
	require.ErrorContains(t, h.Heal(context.Background(), "n1", harness.Network), "no packet was lost")
}
