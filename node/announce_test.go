package node

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/node/raftnet"
)

// A server may be elected after it has found a problem, and before it asks the leader. Then it may have nobody to
// ask.
func TestALeaderAsksNobodyToRecordIt(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	require.Empty(t, n.announcer.announce(n.ctx, "it is not recorded yet where this server is", false))
	_, err := n.cfg.Peers.Probe(t.Context(), "127.0.0.1:1")
	require.Error(t, err)
	stop(t, n)
}

// A new server gets the log, or the state, before the entry that makes it part of the cluster. Until then it must
// not count as removed.
func TestAServerThatHasYetToCatchUpWasNotRemoved(t *testing.T) {
	t.Parallel()
	cfg := config(t, t.TempDir())
	cfg.BootstrapExpect, cfg.ElectionTimeout = 0, time.Hour // nobody misses a leader meanwhile
	n, err := startErr(t, cfg)
	require.NoError(t, err)
	others := []raft.Server{{ID: raftnet.ServerID("n2", "other"), Address: "127.0.0.1:3"}}
	what, _ := n.announcer.misplacedAmong(others)
	require.Empty(t, what)
	n.catchUp.done.Store(true)
	what, urgent := n.announcer.misplacedAmong(others)
	require.Contains(t, what, "not part of the cluster any more")
	require.True(t, urgent)
	require.NoError(t, n.Kill())
}
