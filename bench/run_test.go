package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/bench/harness"
)

func TestPeersHaveNoNetworkToCut(t *testing.T) {
	t.Parallel()
	f := &runFlags{how: harness.Network, peers: []string{"nats", "river"}}
	peers, skipped, err := f.peerSystems(harness.Failover)
	require.NoError(t, err)
	require.Empty(t, peers)
	require.Len(t, skipped, 2)
	require.Equal(t, "nats", skipped[0].Name)
	require.Contains(t, skipped[0].Reason, "network")

	f.peers = []string{"mesos"}
	_, _, err = f.peerSystems(harness.Failover)
	require.ErrorContains(t, err, "mesos")
}

func TestUnknownWaysToLoseALeaderAreRefused(t *testing.T) {
	t.Parallel()
	f := &runFlags{workloads: []string{"failover"}, format: "table", how: "unplug", forTime: time.Minute}
	_, err := f.check()
	require.ErrorContains(t, err, "use kill, pause or network")
}

func TestPeersAreNotMeasuredWhereOnlyRotaIsHarmed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags    runFlags
		workload harness.Workload
		alone    bool
	}{
		{runFlags{how: harness.Network}, harness.Failover, true},
		{runFlags{how: harness.Kill}, harness.Failover, false},
		{runFlags{how: harness.Network}, harness.Array, false},
		{runFlags{}, harness.Overload, true},
		{runFlags{diskSync: time.Millisecond}, harness.Array, true},
		{runFlags{}, harness.Array, false},
	} {
		require.Equal(t, c.alone, c.flags.rotaAlone(c.workload) != "", "%+v", c)
	}
}
