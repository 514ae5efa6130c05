package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

func TestTheLogIsKeptForServersOnTheirWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newProgress()
		_, ok := p.needed()
		require.False(t, ok, "nobody has answered")
		p.has("a", 50)
		p.has("b", 70)
		index, ok := p.needed()
		require.True(t, ok)
		require.EqualValues(t, 50, index)

		ended := p.installing("c", 30)
		time.Sleep(time.Hour)
		index, ok = p.needed()
		require.True(t, ok, "however long that takes")
		require.EqualValues(t, 30, index)
		ended()
		p.has("b", 90)
		time.Sleep(heldAfterAnswer + time.Second)
		index, ok = p.needed()
		require.True(t, ok, "it has yet to take the state over")
		require.EqualValues(t, 30, index)

		p.has("c", 95)
		p.has("b", 99)
		index, ok = p.needed()
		require.True(t, ok)
		require.EqualValues(t, 95, index)
		time.Sleep(heldAfterInstall)
		_, ok = p.needed()
		require.False(t, ok, "nobody has answered for long")
		require.Empty(t, p.servers)
	})
}

func TestWhatAServerHasIsTheLastEntryThatItTook(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 7, lastOf(&raft.AppendEntriesRequest{PrevLogEntry: 7}))
	require.EqualValues(t, 9, lastOf(&raft.AppendEntriesRequest{PrevLogEntry: 7, Entries: []*raft.Log{{Index: 8}, {Index: 9}}}))
}
