package raftnet

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
		const keep, last, limit = 10, 100, 80
		p := newProgress()
		gone := map[raft.ServerID]bool{}
		trailing := func() uint64 {
			return p.trailing(keep, last, limit, func(id raft.ServerID) bool { return gone[id] })
		}
		require.EqualValues(t, keep, trailing(), "nobody has taken anything")
		p.has("a", 98)
		p.has("b", 70)
		require.EqualValues(t, keep+30, trailing())
		gone["b"] = true
		require.EqualValues(t, keep+2, trailing(), "not for one that is away")

		p.has("far", last-limit-1)
		require.EqualValues(t, keep+2, trailing(), "one that lacks too much does not keep it for the others either")
		p.has("far", last-limit)
		require.EqualValues(t, keep+limit, trailing())
		p.has("far", last)

		gone["c"] = true
		ended := p.installing("c", 40)
		time.Sleep(time.Hour)
		require.EqualValues(t, keep+60, trailing(), "however long the state takes")
		ended()
		require.EqualValues(t, keep, trailing(), "it is away, and the others are silent")
		gone["c"] = false
		require.EqualValues(t, keep+60, trailing(), "it takes the state over")
		p.has("c", 99)
		require.EqualValues(t, keep+1, trailing())
		time.Sleep(heldFor + time.Second)
		require.EqualValues(t, keep, trailing())
		require.Empty(t, p.servers)
	})
}

func TestWhatAServerHasIsTheLastEntryThatItTook(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 7, lastOf(&raft.AppendEntriesRequest{PrevLogEntry: 7}))
	require.EqualValues(t, 9, lastOf(&raft.AppendEntriesRequest{PrevLogEntry: 7, Entries: []*raft.Log{{Index: 8}, {Index: 9}}}))
}
