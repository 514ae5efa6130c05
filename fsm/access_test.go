package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/logpb"
	"github.com/rota-scheduler/rota/task"
)

func accessHash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func createOp(secret string, edit func(*logpb.AccessToken)) *logpb.Op {
	t := &logpb.AccessToken{Hash: accessHash(secret), Name: "ci", Role: string(task.RoleSubmit), Queues: []string{"team-a-*"}, Creator: "admin/alice"}
	if edit != nil {
		edit(t)
	}
	return &logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{Token: t}}}
}

func revokeOp(secret string) *logpb.Op {
	return &logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{Hash: accessHash(secret)}}}
}

// newAccess is a machine of a version that has access tokens.
func newAccess(t *testing.T) *testBundle {
	t.Helper()
	b := newBundle(t)
	b.must(riseOp(fsm.Version))
	return b
}

func TestATokenIsKnownByItsHashUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	b := newAccess(t)
	require.False(t, b.must(createOp("s", nil)).Existed)
	got, ok := b.m.AccessToken(accessHash("s"))
	require.True(t, ok)
	require.Equal(t, b.clock, got.CreatedNs)
	require.Zero(t, got.ExpiresNs)
	require.Len(t, b.m.AccessTokens(), 1)
	_, ok = b.m.AccessToken(accessHash("other"))
	require.False(t, ok)

	b.must(revokeOp("s"))
	_, ok = b.m.AccessToken(accessHash("s"))
	require.False(t, ok)
	require.ErrorIs(t, b.apply(revokeOp("s"))[0].Err, task.ErrNotFound)
	_, digest := b.m.Digest()
	empty := newAccess(t)
	for empty.index < b.index {
		empty.apply(revokeOp("s"))
	}
	_, want := empty.m.Digest()
	require.Equal(t, want, digest, "nothing is left of it")
}

func TestTheSameTokenTwiceIsOne(t *testing.T) {
	t.Parallel()
	b := newAccess(t)
	b.must(createOp("s", nil))
	b.clock += int64(time.Hour)
	require.True(t, b.must(createOp("s", func(a *logpb.AccessToken) { a.Creator = "admin/bob" })).Existed)
	require.ErrorIs(t, b.apply(createOp("s", func(a *logpb.AccessToken) { a.Role = string(task.RoleAdmin); a.Queues = nil }))[0].Err, task.ErrConflict)
	got, _ := b.m.AccessToken(accessHash("s"))
	require.Equal(t, string(task.RoleSubmit), got.Role)
	require.Equal(t, "admin/alice", got.Creator)
}

func TestExpiredTokensMakeRoom(t *testing.T) {
	t.Parallel()
	b := newAccess(t)
	for i := range task.MaxAccessTokens {
		b.must(createOp(fmt.Sprint(i), func(a *logpb.AccessToken) { a.TtlNs = int64(time.Hour) }))
	}
	require.ErrorIs(t, b.apply(createOp("more", nil))[0].Err, task.ErrExhausted)
	b.clock += int64(time.Hour) - 1
	require.ErrorIs(t, b.apply(createOp("more", nil))[0].Err, task.ErrExhausted)
	got, _ := b.m.AccessToken(accessHash("0"))
	require.False(t, fsm.AccessExpired(got, b.clock))
	b.clock++
	require.True(t, fsm.AccessExpired(got, b.clock))
	b.must(createOp("more", nil))
	require.Len(t, b.m.AccessTokens(), 1)
}

func TestTokensWaitForTheirVersion(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	b.must(riseOp(fsm.GateVersion))
	_, before := b.m.Digest()
	require.ErrorIs(t, b.apply(createOp("s", nil))[0].Err, task.ErrUnsupported)
	require.ErrorIs(t, b.apply(revokeOp("s"))[0].Err, task.ErrUnsupported)
	_, digest := b.m.Digest()
	require.Equal(t, before, digest)
	require.Empty(t, b.m.AccessTokens())
}

func TestATokenThatMakesNoSenseIsNotMade(t *testing.T) {
	t.Parallel()
	b := newAccess(t)
	for name, edit := range map[string]func(*logpb.AccessToken){
		"hash":    func(a *logpb.AccessToken) { a.Hash = a.Hash[1:] },
		"name":    func(a *logpb.AccessToken) { a.Name = "" },
		"role":    func(a *logpb.AccessToken) { a.Role = "root" },
		"server":  func(a *logpb.AccessToken) { a.Role = string(task.RoleServer) },
		"queues":  func(a *logpb.AccessToken) { a.Queues = []string{"a*b"} },
		"ttl":     func(a *logpb.AccessToken) { a.TtlNs = -1 },
		"creator": func(a *logpb.AccessToken) { a.Creator = "\x00" },
	} {
		require.Error(t, b.apply(createOp("s", edit))[0].Err, name)
	}
	require.Error(t, b.apply(&logpb.Op{Op: &logpb.Op_CreateAccessToken{CreateAccessToken: &logpb.CreateAccessToken{}}})[0].Err)
	require.Error(t, b.apply(&logpb.Op{Op: &logpb.Op_RevokeAccessToken{RevokeAccessToken: &logpb.RevokeAccessToken{}}})[0].Err)
	require.Empty(t, b.m.AccessTokens())
}

func TestAChangeOfTokensWakesThoseWhoWait(t *testing.T) {
	t.Parallel()
	w := fsm.NewWatchers()
	b := &testBundle{t: t, m: fsm.New(nothing{}, w), clock: 1_700_000_000e9}
	b.must(riseOp(fsm.Version))
	for _, op := range []*logpb.Op{createOp("s", nil), revokeOp("s")} {
		changed := w.AccessChanged()
		b.must(op)
		select {
		case <-changed:
		default:
			t.Fatalf("nobody was woken by %v", op)
		}
	}
}

// Each field of a token is a part of the digest: servers that differ in one must find out.
func TestEachFieldOfATokenIsInTheDigest(t *testing.T) {
	t.Parallel()
	digest := func(edit func(*logpb.AccessToken)) uint64 {
		b := newAccess(t)
		b.must(createOp("s", edit))
		_, d := b.m.Digest()
		return d
	}
	seen := map[uint64]string{digest(nil): "none"}
	for name, edit := range map[string]func(*logpb.AccessToken){
		"hash":    func(a *logpb.AccessToken) { a.Hash = accessHash("t") },
		"name":    func(a *logpb.AccessToken) { a.Name = "cd" },
		"role":    func(a *logpb.AccessToken) { a.Role = string(task.RoleRead) },
		"queues":  func(a *logpb.AccessToken) { a.Queues = []string{"team-b-*"} },
		"all":     func(a *logpb.AccessToken) { a.Queues = nil },
		"rate":    func(a *logpb.AccessToken) { a.Rate = 1 },
		"ttl":     func(a *logpb.AccessToken) { a.TtlNs = 1 },
		"creator": func(a *logpb.AccessToken) { a.Creator = "" },
	} {
		d := digest(edit)
		require.NotContains(t, seen, d, "%s is as %s", name, seen[d])
		seen[d] = name
	}
	// Who adds a field adds it to accessHash as well.
	require.Equal(t, 9, (&logpb.AccessToken{}).ProtoReflect().Descriptor().Fields().Len())
}
