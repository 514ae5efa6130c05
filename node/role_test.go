package node

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// Servers of earlier builds send and read Raft's own names.
func TestRolesHaveRaftsNames(t *testing.T) {
	t.Parallel()
	states := []raft.RaftState{raft.Follower, raft.Candidate, raft.Leader, raft.Shutdown}
	require.Len(t, Roles(), len(states))
	for i, s := range states {
		require.Equal(t, Roles()[i], roleOf(s))
	}
}
