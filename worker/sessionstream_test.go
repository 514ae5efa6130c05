package worker

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/wire/leader"
)

// streamOf is the session's stream of a worker that knows one server, which never comes next while
// another one is announced.
func streamOf(addr string) *sessionStream {
	return newSessionStream(leader.New(leader.Config{Addrs: []string{addr}, Logger: slog.New(slog.DiscardHandler)}, nil))
}

// The watch announces the real leader at once after it has refuted a term. The stream to the server
// that spoke for that term has not ended by then.
func TestALeaderIsFollowedWhoseTermIsBelowTheRefutedOne(t *testing.T) {
	t.Parallel()
	s := streamOf("fake:1")
	ctx, cut := context.WithCancelCause(t.Context())
	s.opening("fake:1", cut)
	s.opened("fake:1", 100)
	s.refute(5)
	require.ErrorIs(t, context.Cause(ctx), errRefuted)
	s.announced(5, "real:1")
	s.ended()
	require.Equal(t, "real:1", s.next())
}

// A leader is announced after the worker has chosen where to go, and before it goes there.
func TestAnAttemptEndsIfALeaderWasAnnouncedBeforeItBegan(t *testing.T) {
	t.Parallel()
	s := streamOf("old:1")
	addr := s.next()
	s.announced(6, "new:1")
	ctx, cut := context.WithCancelCause(t.Context())
	s.opening(addr, cut)
	require.ErrorIs(t, context.Cause(ctx), errNewLeader)
	s.ended()
	require.Equal(t, "new:1", s.next())

	ctx, cut = context.WithCancelCause(t.Context())
	defer cut(nil)
	s.opening("new:1", cut)
	require.NoError(t, ctx.Err())
}
