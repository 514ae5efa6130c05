package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A server may be elected between its look at what is wrong and its question for the leader, and it may
// have nobody to ask.
func TestALeaderAsksNobodyToRecordIt(t *testing.T) {
	t.Parallel()
	n := start(t, config(t, t.TempDir()))
	require.Empty(t, n.announce("it is not recorded yet where this server is", false))
	_, err := n.cfg.Peers.Probe(t.Context(), "127.0.0.1:1")
	require.Error(t, err)
	stop(t, n)
}
