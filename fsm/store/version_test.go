package store

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

// If the state was only refused, the leader would send it again and again.
func TestAReceivedStateOfANewerVersionStopsTheServer(t *testing.T) {
	t.Parallel()
	from := newBundle(t)
	from.submit(&logpb.Submit{Tasks: &logpb.Tasks{Count: 1}}, &task.Spec{Handler: "h"})
	require.NoError(t, from.s.Flush())
	require.NoError(t, transact(from.s.pair.Load().db.bolt.Update, func(tx *bolt.Tx) error {
		meta := &logpb.Meta{}
		require.NoError(t, getMeta(tx, meta))
		meta.Version = fsm.Version + 1
		return putProto(tx, metaBucket, metaKey, meta)
	}))
	st, err := from.s.stream()
	require.NoError(t, err)
	to := newBundle(t)
	var told error
	to.s.OnCorrupt(func(err error) { told = err })
	sink, err := openSnapshots(t, to).Create(raft.SnapshotVersionMax, 9, 1, firstConfiguration, 1, nil)
	require.NoError(t, err)
	_, err = io.Copy(sink, st)
	require.NoError(t, err)
	require.NoError(t, st.Close())
	require.ErrorIs(t, sink.Close(), fsm.ErrTooOld)
	require.ErrorIs(t, told, fsm.ErrTooOld)
	require.ErrorContains(t, told, "start the newer build again")

	// Nor is a file of such a version opened. It stays as it is.
	dir := from.s.dir
	require.NoError(t, from.s.Abandon())
	before, err := os.ReadFile(filepath.Join(dir, FileName))
	require.NoError(t, err)
	_, err = OpenState(dir, testIdentity, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, fsm.ErrTooOld)
	require.NotErrorIs(t, err, ErrCorrupt)
	behind, err := os.ReadFile(filepath.Join(dir, FileName))
	require.NoError(t, err)
	require.Equal(t, before, behind)
}
