package raftlog

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
)

// After a received snapshot, raft continues with entries that do not follow those in the log.
func TestEachLogTakesEntriesBehindASnapshot(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		dir := t.TempDir()
		log, err := Open(config(t, dir, kind, false))
		require.NoError(t, err)
		entries := func(from, to uint64) (list []*raft.Log) {
			for i := from; i <= to; i++ {
				list = append(list, &raft.Log{Index: i, Term: 1, Data: fmt.Append(nil, i)})
			}
			return list
		}
		require.NoError(t, log.StoreLogs(entries(1, 5)))
		require.NoError(t, log.StoreLogs(entries(6, 7)))
		require.NoError(t, log.StoreLogs(entries(21, 23)))
		require.NoError(t, log.Close())
		log, err = Open(config(t, dir, kind, true))
		require.NoError(t, err)
		last, err := log.LastIndex()
		require.NoError(t, err)
		require.Equal(t, uint64(23), last)
		require.NoError(t, log.DeleteRange(1, 21))
		require.ErrorIs(t, log.GetLog(21, &raft.Log{}), raft.ErrLogNotFound)
		for i := uint64(22); i <= 23; i++ {
			var l raft.Log
			require.NoError(t, log.GetLog(i, &l))
			require.Equal(t, fmt.Append(nil, i), l.Data)
		}
		require.NoError(t, log.Close())
	}
}
