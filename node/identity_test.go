package node

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/internal/sealedfile"
)

// A server that takes itself for another one votes twice, or forgets that it had a log.
func TestNoFlippedBitOfTheIdentityIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, err := loadIdentity(dir, "n1")
	require.NoError(t, err)
	id.HasLog, id.LogStore = true, LogStoreWAL
	require.NoError(t, writeIdentity(dir, id))
	whole, err := os.ReadFile(in(dir, identityFile))
	require.NoError(t, err)
	for at := range whole {
		for bit := range 8 {
			whole[at] ^= 1 << bit
			require.NoError(t, os.WriteFile(in(dir, identityFile), whole, 0o600))
			_, err := loadIdentity(dir, "n1")
			requireWords(t, err, "node.json is corrupt", "join anew")
			whole[at] ^= 1 << bit
		}
	}
}

func TestAnIdentityWithoutAChecksumGetsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := identity{NodeID: "n1", ServerID: "0123456789abcdef", HasLog: true, LogStore: LogStoreWAL}
	old := fmt.Sprintf(`{"node_id":"n1","server_id":%q,"has_log":true,"log_store":"wal"}`+"\n", want.ServerID)
	require.NoError(t, os.WriteFile(in(dir, identityFile), []byte(old), 0o600))
	got, err := loadIdentity(dir, "n1")
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, sealed, err := sealedfile.Read[identity](in(dir, identityFile))
	require.NoError(t, err)
	require.True(t, sealed)
	for _, wrong := range []string{
		`{"node_id":"n1","server_id":"0123456789abcdef","has_log":true,"log_storf":"wal"}`,
		`{"node_id":"n1","server_id":"0123456789abcdef","has_logs":true}`,
		`{"node_id":"n1","server_id":"0123456789abcdef","has_log":true,"log_store":"wam"}`,
	} {
		require.NoError(t, os.WriteFile(in(dir, identityFile), []byte(wrong), 0o600))
		_, err := loadIdentity(dir, "n1")
		requireWords(t, err, "node.json is corrupt")
	}
}

// The data of a server that was removed must not join again by accident.
func TestTheFolderOfARemovedServerIsNotStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	id, err := loadIdentity(dir, "n1")
	require.NoError(t, err)
	d := &departure{dir: dir, identity: id, logger: silent, done: make(chan struct{})}
	d.depart()
	d.depart() // the leader says it again
	<-d.done
	_, err = loadIdentity(dir, "n1")
	requireWords(t, err, "was removed from its cluster", "move "+dir+" away", "rota cluster add")
	refused(t, config(t, dir), "was removed from its cluster")
}
