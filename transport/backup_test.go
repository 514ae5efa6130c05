package transport_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/testcluster"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

// Any server has all that was acknowledged before it was asked.
func TestABackupHasAllThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	cl := c.Client()
	for jobs := uint64(1); jobs <= 3; jobs++ {
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "none"}, Count: 1})
		require.NoError(t, err)
		for _, addr := range c.Addrs() {
			one, err := client.New(client.Config{Addrs: []string{addr}})
			require.NoError(t, err)
			var file bytes.Buffer
			n, err := one.SaveSnapshot(ctx, &file, client.SaveOptions{})
			require.NoError(t, err)
			require.EqualValues(t, file.Len(), n)
			m, err := node.Inspect(bytes.NewReader(file.Bytes()))
			require.NoError(t, err)
			require.Equal(t, jobs, m.Jobs)
			require.Equal(t, jobs, m.UnfinishedJobs)
			require.Equal(t, jobs+1, m.NextJob)
			require.NotEmpty(t, m.Servers)
			one.Close()

			made, _, err := node.Restore(&file, &node.NewFolder{
				Dir: filepath.Join(t.TempDir(), "data"), NodeID: "n1", PeerAddr: "127.0.0.1:1", Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			require.EqualValues(t, jobs, made.Jobs)
		}
	}
}

func TestAServerSendsOneBackupAtATime(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	// Payloads that do not compress: more than a client takes that does not read.
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(task.Mix(uint64(i)))
	}
	cl := c.Client()
	for i := range 16 {
		_, err := cl.Submit(ctx, client.Request{Spec: task.Spec{Handler: "none", SharedPayload: noise[i<<16 : (i+1)<<16]}, Count: 1})
		require.NoError(t, err)
	}
	server := rotav1.NewClusterServiceClient(dialFirst(t, c))
	reading, stop := context.WithCancel(ctx)
	defer stop()
	first, err := server.SaveSnapshot(reading, &rotav1.SaveSnapshotRequest{})
	require.NoError(t, err)
	_, err = first.Recv()
	require.NoError(t, err)
	second := func() error {
		s, err := server.SaveSnapshot(ctx, &rotav1.SaveSnapshotRequest{})
		require.NoError(t, err)
		_, err = s.Recv()
		return wire.FromStatus(err)
	}
	require.ErrorIs(t, second(), task.ErrExhausted)
	stop()
	c.Eventually(func() bool { return second() == nil }, "the end of a backup that nobody reads")
}

func TestABackupNeedsALeaderUnlessAStaleOneWillDo(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, nil)
	leader := c.Leader()
	c.Kill(leader)
	left := (leader + 1) % 3
	c.Kill((leader + 2) % 3)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Wait)
	defer cancel()
	conn, err := wire.Dial(c.Addrs()[left])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	ask := func(stale bool) error {
		s, err := rotav1.NewClusterServiceClient(conn).SaveSnapshot(ctx, &rotav1.SaveSnapshotRequest{Stale: stale})
		require.NoError(t, err)
		_, err = s.Recv()
		return wire.FromStatus(err)
	}
	require.ErrorIs(t, ask(false), task.ErrUnavailable)
	require.NoError(t, ask(true))
}

// A token that is revoked after the backup is valid again where that is restored, unless the restore forgets all tokens.
func TestARestoreNamesTheTokensThatAreBack(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 4*testcluster.Wait)
	defer cancel()
	access := rotav1.NewAccessServiceClient(dialFirst(t, c))
	hash := sha256.Sum256([]byte("rota_secret"))
	var id string
	c.Eventually(func() bool {
		created, err := access.CreateToken(ctx, &rotav1.CreateTokenRequest{Hash: hash[:], Name: "ci", Role: string(task.RoleSubmit)})
		id = created.GetToken().GetId()
		return err == nil
	}, "a version of the log that has access tokens")
	var file bytes.Buffer
	_, err := c.Client().SaveSnapshot(ctx, &file, client.SaveOptions{})
	require.NoError(t, err)
	_, err = access.RevokeToken(ctx, &rotav1.RevokeTokenRequest{Id: id})
	require.NoError(t, err)
	for _, without := range []bool{false, true} {
		made, _, err := node.Restore(bytes.NewReader(file.Bytes()), &node.NewFolder{
			Dir: filepath.Join(t.TempDir(), "data"), NodeID: "n1", PeerAddr: "127.0.0.1:1", WithoutTokens: without, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		if without {
			require.Empty(t, made.Tokens)
		} else {
			require.Equal(t, []string{id + " (ci)"}, made.Tokens)
		}
	}
}
