package fsm_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func removeServerOp(nodeID, serverID string) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_RemoveServer{RemoveServer: &logpb.RemoveServer{NodeId: nodeID, ServerId: serverID}}}
}

// risen is a machine of the newest version.
func risen(t *testing.T) *testBundle {
	t.Helper()
	b := newBundle(t)
	b.openSession("w", 1)
	b.must(riseOp(fsm.Version))
	return b
}

// A server that was away when it was removed comes back with its old ids. Another server may have its node id.
func TestARemovedServerIsNotRecordedAgain(t *testing.T) {
	t.Parallel()
	b := risen(t)
	b.must(putServerOp(serverOf("n1", "a")))
	b.must(putServerOp(serverOf("n2", "a")))
	require.False(t, b.must(removeServerOp("n2", "a")).Existed)
	require.Len(t, b.m.Servers(), 1)
	require.ErrorIs(t, b.apply(putServerOp(serverOf("n2", "a")))[0].Err, task.ErrConflict)
	b.must(putServerOp(serverOf("n2", "b")))
	require.True(t, b.must(removeServerOp("n2", "a")).Existed, "it is sent again")
	require.Len(t, b.m.Servers(), 2, "the server that has its node id now stays")
	require.Len(t, b.m.Removed(), 1)
	require.Empty(t, b.m.CheckInvariants())
}

func TestRemovedServersAreInTheDigestAndOnDisk(t *testing.T) {
	t.Parallel()
	b := risen(t)
	_, before := b.m.Digest()
	b.must(removeServerOp("n2", "a"))
	_, behind := b.m.Digest()
	require.NotEqual(t, before, behind)
	meta := b.m.TakeBatch().Meta
	require.Len(t, meta.Removed, 1)
	require.Equal(t, "n2", meta.Removed[0].NodeId)
}

func TestTheOldestRemovalsAreForgotten(t *testing.T) {
	t.Parallel()
	b := risen(t)
	for i := range task.MaxRemovedServers + 2 {
		b.must(removeServerOp("n2", fmt.Sprint(i)))
	}
	removed := b.m.Removed()
	require.Len(t, removed, task.MaxRemovedServers)
	require.Equal(t, "2", removed[0].ServerId)
	require.Empty(t, b.m.CheckInvariants())
}

// Builds from before do not know removals.
func TestRemovalsWaitForTheirVersion(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.must(putServerOp(serverOf("n2", "a")))
	require.ErrorIs(t, b.apply(removeServerOp("n2", "a"))[0].Err, task.ErrUnsupported)
	require.Len(t, b.m.Servers(), 1)
	require.Empty(t, b.m.Removed())
}

func TestARemovalNamesAServer(t *testing.T) {
	t.Parallel()
	b := risen(t)
	b.refused(removeServerOp("n/2", "a"), task.ErrInvalid, "node id")
	b.refused(removeServerOp("n2", ""), task.ErrInvalid, "server id")
	require.Empty(t, b.m.Removed())
}
