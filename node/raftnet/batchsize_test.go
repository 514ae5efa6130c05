package raftnet

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

func TestAMessageIsCutToWhatItsServerTakes(t *testing.T) {
	t.Parallel()
	p := newBatchSizes()
	entries := func(n, size int) *raft.AppendEntriesRequest {
		r := &raft.AppendEntriesRequest{}
		for range n {
			r.Entries = append(r.Entries, &raft.Log{Data: make([]byte, size-entryOverhead)})
		}
		return r
	}
	sent := func(id raft.ServerID, n, size int) int {
		r := entries(n, size)
		p.limit(id, r)
		return len(r.Entries)
	}
	require.Equal(t, 64, sent("a", 64, 1<<10))
	require.Equal(t, 4, sent("a", 64, 64<<10))
	require.Equal(t, 1, sent("a", 64, firstBatch+1), "one entry is sent, however large")
	require.Zero(t, sent("a", 0, 0))

	for range 10 {
		p.sent("a", entries(1, 1<<10), false)
	}
	require.Equal(t, minBatch>>10, sent("a", 64, 1<<10))
	require.Equal(t, 64, sent("b", 64, 1<<10), "another server is another matter")
	p.sent("a", entries(0, 0), true) // tells of a commit, and nothing of the link
	require.Equal(t, minBatch>>10, sent("a", 64, 1<<10))
	p.sent("a", entries(1, 1<<10), true)
	require.Equal(t, 2*minBatch>>10, sent("a", 64, 1<<10))
	for range 20 {
		p.sent("a", entries(1, 1<<10), true)
	}
	require.Equal(t, maxBatch>>16, sent("a", 100, 1<<16))
}
