package raftnet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// Both servers have moved, and Raft's configuration has them where nobody is. Each knows by its id where the other one is.
func TestMessagesGoWhereAServerWasFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		places := map[raft.ServerID]raft.ServerAddress{"n1/a": "one", "n2/b": "two"}
		moved := func(cfg *Config) {
			cfg.FoundBy = func(raft.ServerID) bool { return true }
			cfg.Where = func(id raft.ServerID, _ raft.ServerAddress) raft.ServerAddress { return places[id] }
		}
		a, one := newSimulated(t, "n1/a", "one", testTimeout, moved)
		b, two := newSimulated(t, "n2/b", "two", time.Hour, moved)
		one.Connect("two", two)
		two.Connect("one", one)
		before := raft.Configuration{Servers: []raft.Server{{ID: a.id, Address: "one before"}, {ID: b.id, Address: Parked(b.id)}}}
		require.NoError(t, a.BootstrapCluster(before).Error())
		require.NoError(t, b.BootstrapCluster(before).Error())
		time.Sleep(time.Minute)
		require.Equal(t, raft.Leader, a.State())
		require.NoError(t, a.Barrier(time.Second).Error())
		require.Equal(t, raft.ServerAddress("two"), a.net.ReachedAt(b.id, a.CurrentTerm()))
		require.Empty(t, a.net.ReachedAt(b.id, a.CurrentTerm()+1), "of another term nothing is known")
		a.net.Forget(b.id)
		require.Empty(t, a.net.elsewhere.reachedAt("n3/c", a.CurrentTerm()))
	})
}

func TestAParkedAddressIsNotDialled(t *testing.T) {
	t.Parallel()
	e := newElsewhere(nil, nil) // it would panic if it asked
	require.ErrorIs(t, e.RequestVote("n1/a", Parked("n1/a"), nil, nil), errParked)
	require.ErrorIs(t, e.RequestPreVote("n1/a", Parked("n1/a"), nil, nil), errParked)
	require.ErrorIs(t, e.AppendEntries("n1/a", Parked("n1/a"), nil, nil), errParked)
	require.ErrorIs(t, e.TimeoutNow("n1/a", Parked("n1/a"), nil, nil), errParked)
	require.ErrorIs(t, e.InstallSnapshot("n1/a", Parked("n1/a"), nil, nil, nil), errParked)
	_, err := e.AppendEntriesPipeline("n1/a", Parked("n1/a"))
	require.ErrorIs(t, err, errParked)
}
