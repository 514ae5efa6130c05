package node

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm/logpb"
)

func TestAServerFoundElsewhereIsThereUntilItIsRecorded(t *testing.T) {
	t.Parallel()
	w := &whereabouts{}
	n1, n2 := recordOf("n1", "1", true), recordOf("n2", "2", true)
	id := recordID(n2)
	require.Equal(t, raft.ServerAddress("configured:1"), w.peerAddr(id, "configured:1"), "nothing is recorded")
	w.record([]*logpb.ServerRecord{n1, n2})
	home := place{n2.Addr, n2.PeerAddr}
	require.Equal(t, raft.ServerAddress(n2.PeerAddr), w.peerAddr(id, "configured:1"))

	away := place{"away:7420", "away:7421"}
	require.True(t, w.note(id, home, away))
	require.False(t, w.note(id, home, away), "it is known")
	require.Equal(t, raft.ServerAddress(away.peerAddr), w.peerAddr(id, "configured:1"))
	at, ok := w.foundAt(id)
	require.True(t, ok)
	require.Equal(t, away, at)

	// The record of another server changes nothing, that of the server itself ends it.
	w.record([]*logpb.ServerRecord{recordOf("n1", "new", true), n2})
	require.Equal(t, map[raft.ServerID]place{id: away}, w.finds())
	moved := recordOf("n2", "2", true)
	moved.Addr, moved.PeerAddr = "third:7420", "third:7421"
	w.record([]*logpb.ServerRecord{n1, moved})
	require.Empty(t, w.finds())
	require.Equal(t, raft.ServerAddress("third:7421"), w.peerAddr(id, "configured:1"))

	// What was found before a record does not count after it.
	require.False(t, w.note(id, home, away))
	require.True(t, w.note(id, place{moved.Addr, moved.PeerAddr}, away))
	w.forget(id)
	require.Empty(t, w.finds())
}
