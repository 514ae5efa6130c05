package store

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
)

func TestTokensOutliveARestart(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	hash := func(secret string) []byte { sum := sha256.Sum256([]byte(secret)); return sum[:] }
	create := func(secret string) *logpb.Op {
		return &logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{Token: &logpb.AccessToken{
			Hash: hash(secret), Name: secret, Role: "submit", Queues: []string{"team-a-*"}, TtlNs: 1e9, Rate: 3, Creator: "admin/a",
		}}}}
	}
	restart := func() {
		require.NoError(t, b.s.Flush())
		b.reopen()
	}
	b.apply(&logpb.Op{Op: &logpb.Op_SetVersion{SetVersion: &logpb.SetVersion{Version: fsm.Version}}})
	b.apply(create("kept"), create("revoked"))
	want, ok := b.s.Machine().AccessToken(hash("kept"))
	require.True(t, ok)
	restart()
	b.apply(&logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{Hash: hash("revoked")}}})
	restart()
	require.Len(t, b.s.Machine().AccessTokens(), 1)
	got, ok := b.s.Machine().AccessToken(hash("kept"))
	require.True(t, ok)
	require.True(t, proto.Equal(want, got), "%v", got)
}
