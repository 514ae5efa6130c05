package node

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

func TestWhyAServerHasNoVote(t *testing.T) {
	t.Parallel()
	joined := raft.Server{ID: "n2/a", Suffrage: raft.Nonvoter}
	require.Empty(t, voteless(raft.Server{ID: "n1/a", Suffrage: raft.Voter}, nil, 1))
	require.Contains(t, voteless(joined, nil, 3), "not recorded yet")
	require.Contains(t, voteless(joined, &logpb.ServerRecord{Vote: true}, 2), "once it has caught up")
	alone := voteless(joined, &logpb.ServerRecord{}, 1)
	require.Contains(t, alone, "replaces no server that votes")
	require.Contains(t, alone, "rota cluster add n2 gives it a vote")
	require.Contains(t, alone, "lost with it")
	require.NotContains(t, alone, "--node-id", "the only voter cannot be replaced")
	require.Contains(t, voteless(joined, &logpb.ServerRecord{}, 3), "one of the 3 voters that is down for good, start it with an empty data folder under the --node-id of that one")
}
